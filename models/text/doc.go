// Package text makes the inputs of language models: it reads corpora and tables
// of sentences, cuts text into word pieces, packs these into sequences of one
// length and masks them.
//
//	corpus, err := text.Open(ctx, "wikitext-2.tar.gz")
//	…
//	tok, err := text.OpenTokenizer("bert-base-cased")
//	…
//	seqs, err := text.Pack(tok, corpus.Train, 64)
//	…
//	batch := text.Masking{Seed: 1}.Batch(tok, seqs, epoch) // input_ids, attention_mask, token_type_ids, labels
//
// A [Tokenizer] comes from the files of a checkpoint: tokenizer.json, vocab.txt, or
// vocab.json and merges.txt, with the settings and added tokens that lie beside
// them. It gives the ids of Python's tokenizers for the word pieces of BERT, through
// github.com/gomlx/go-huggingface, and for the byte pairs of GPT-2 and RoBERTa.
//
// For causal language models [Chunks] cuts running text into sequences, [NextTokens]
// makes batches of them, and [Tokenizer.Decode] turns what a model says into text.
//
// For others [Pack] makes sequences of running text, [Tokenizer.EncodeBatch] one of each
// sentence. [Masking] makes batches to train and score masked language models,
// [MaskEach] those of their pseudo-perplexity, [Labeled] those of classifiers. What
// is drawn at random follows from a seed, so that training resumes exactly.
//
// Files are not trusted: what a corpus or a tokenizer may hold is bounded, and
// what cannot be used is an error with [ErrCorpus], [ErrVocabulary], [ErrTable]
// or [ErrEmpty] in its chain.
package text
