// Package text makes the inputs of language models: it reads corpora, cuts them
// into word pieces, packs these into sequences of one length and masks them.
//
//	corpus, err := text.Open("wikitext-2.tar.gz")
//	…
//	tok, err := text.OpenTokenizer("vocab.txt")
//	…
//	seqs, err := text.Pack(tok, corpus.Train, 64)
//	…
//	batch := text.Masking{Seed: 1}.Batch(tok, seqs, epoch)
//
// [Atlas] writes a text where there is none, [Learn] a vocabulary; [OpenTable]
// reads sentences to classify.
//
// The word pieces are those of Python's transformers, through the tokenizer of
// github.com/gomlx/go-huggingface.
package text
