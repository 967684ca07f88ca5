package main

import (
	"bytes"
	"embed"
	"fmt"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/text"
)

// shipped holds the parents that come with the program; parents/README.md says
// how they were made.
//
//go:embed parents
var shipped embed.FS

// own is the text that the shipped parents were trained on.
const own = "atlas"

// tokenizerOf returns the tokenizer that the parents were trained with: that of
// -vocab, or their own.
func tokenizerOf(o options, parents []*models.Model) (*text.Tokenizer, error) {
	for k, m := range parents[1:] {
		for _, name := range []string{tokenizerName, vocabularyName} {
			if !bytes.Equal(m.Files[name], parents[0].Files[name]) {
				return nil, fmt.Errorf("bert-wiki: %s of parent %d differs from that of parent 0: they have different vocabularies", name, k+1)
			}
		}
	}
	tok, _, err := given(o)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{tokenizerName, vocabularyName} {
		if raw, ok := parents[0].Files[name]; ok && tok == nil {
			if tok, err = text.ParseTokenizer(name, raw); err != nil {
				return nil, fmt.Errorf("bert-wiki: %s of the parents: %w", name, err)
			}
		}
	}
	if tok == nil {
		return nil, fmt.Errorf("bert-wiki: the parents have neither %s nor %s; give one with -vocab", tokenizerName, vocabularyName)
	}
	for k, m := range parents {
		if m.Config.Vocab != tok.Size() {
			return nil, fmt.Errorf("bert-wiki: parent %d reads a vocabulary of %d word pieces, the tokenizer has %d", k, m.Config.Vocab, tok.Size())
		}
	}
	return tok, nil
}

// fit checks that the parents find masked words in sequences of one length, and
// returns it.
func fit(parents []*models.Model) (length int, err error) {
	length = parents[0].Config.Positions
	for k, m := range parents {
		if want := models.BERTForMaskedLM().Class; m.Arch.Class != want {
			return 0, fmt.Errorf("bert-wiki: parent %d is a %s, want a %s", k, m.Arch.Class, want)
		}
		if m.Config.Positions != length {
			return 0, fmt.Errorf("bert-wiki: parent %d reads sequences of up to %d word pieces, parent 0 of %d", k, m.Config.Positions, length)
		}
	}
	return min(length, longest), nil
}

// longest is the length of the sequences of parents that would read longer ones.
const longest = 128
