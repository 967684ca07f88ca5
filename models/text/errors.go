package text

import "errors"

var (
	// ErrEmpty reports a text without a word piece to learn from.
	ErrEmpty = errors.New("text: empty text")
	// ErrVocabulary reports a vocabulary or a tokenizer.json that cannot be used.
	ErrVocabulary = errors.New("text: bad vocabulary")
	// ErrCorpus reports an archive without the texts of a corpus.
	ErrCorpus = errors.New("text: bad corpus")
)
