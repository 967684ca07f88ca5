package text

import "errors"

var (
	// ErrEmpty reports a text without a single word, paragraph or sentence.
	ErrEmpty = errors.New("text: empty text")
	// ErrVocabulary reports a vocabulary or a tokenizer.json that cannot be used.
	ErrVocabulary = errors.New("text: bad vocabulary")
	// ErrDifferent reports two tokenizers that make different ids of a text.
	ErrDifferent = errors.New("text: different tokenizers")
	// ErrCorpus reports a folder or archive that is not a corpus, or is torn.
	ErrCorpus = errors.New("text: bad corpus")
)
