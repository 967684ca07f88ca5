package language

import (
	"bytes"
	"fmt"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/text"
)

// Texts are sequences of word pieces ready for use.
type Texts struct {
	Tok         *text.Tokenizer
	Train, Test [][]int32
	Name, Label string // of the corpus
}

// Cut makes sequences of a corpus; most limits those of the test.
func (c Corpus) Cut(tok *text.Tokenizer, length, most int) (Texts, error) {
	t := Texts{Tok: tok, Name: c.Name, Label: c.Label}
	var err error
	if t.Train, err = text.Pack(tok, c.Train, length); err != nil {
		return t, fmt.Errorf("the training part of %s: %w", c.Label, err)
	}
	if t.Test, err = text.Pack(tok, c.Test, length); err != nil {
		return t, fmt.Errorf("the test part of %s: %w", c.Label, err)
	}
	t.Test = t.Test[:min(most, len(t.Test))]
	return t, nil
}

// A Feeder makes the batches of a training from its step alone, so that a run
// resumes exactly: sequences in a new order in every epoch, masked anew.
type Feeder struct {
	tok  *text.Tokenizer
	seqs [][]int32
	data.Sampler
}

// Feed returns batches of some sequences, smaller ones where there are few.
func (t Texts) Feed(seqs [][]int32, batch int, seed uint64) Feeder {
	return Feeder{t.Tok, seqs, data.Sampler{N: len(seqs), Batch: min(batch, len(seqs)), Seed: seed}}
}

// Batch returns the batch of a step.
func (f Feeder) Batch(step int) (models.Batch, error) {
	seqs := make([][]int32, 0, f.Sampler.Batch)
	for _, i := range f.Indices(step) {
		seqs = append(seqs, f.seqs[i])
	}
	return text.Masking{Seed: f.Seed}.Batch(f.tok, seqs, step), nil
}

// Masks of what is scored and calibrated on.
const (
	TestMask  = 1_000_001
	CalibMask = 1_000_002
)

// Masked returns sequences, masked.
func (t Texts) Masked(seqs [][]int32, seed uint64) models.Batch {
	return text.Masking{Seed: seed}.Batch(t.Tok, seqs, 0)
}

// wordPieces says what word pieces a network reads; nothing where it reads none.
func wordPieces(m *models.Model) models.Input {
	in, _ := m.Input("input_ids")
	return in
}

// Same reports two models that bring different vocabularies along: of the same
// size they would fuse, and the result would read nonsense.
func Same(a, b *models.Model) error {
	for _, name := range []string{TokenizerFile, VocabularyFile} {
		x, inA := a.Files[name]
		y, inB := b.Files[name]
		if inA && inB && !bytes.Equal(x, y) {
			return fmt.Errorf("%s differs from that of the anchor: they have different vocabularies", name)
		}
	}
	return nil
}

// Vocabulary returns the tokenizer that parents were trained with, which must be
// the same: given, or where that is nil their own.
func Vocabulary(given *text.Tokenizer, parents []*models.Model) (*text.Tokenizer, error) {
	names := []string{TokenizerFile, VocabularyFile}
	for k, m := range parents[1:] {
		for _, name := range names {
			if !bytes.Equal(m.Files[name], parents[0].Files[name]) {
				return nil, fmt.Errorf("%s of parent %d differs from that of parent 0: they have different vocabularies", name, k+1)
			}
		}
	}
	tok := given
	for _, name := range names {
		if raw, ok := parents[0].Files[name]; ok && tok == nil {
			var err error
			if tok, err = text.ParseTokenizer(name, raw); err != nil {
				return nil, fmt.Errorf("%s of the parents: %w", name, err)
			}
		}
	}
	if tok == nil {
		return nil, fmt.Errorf("the parents have neither %s nor %s; give one with -vocab", TokenizerFile, VocabularyFile)
	}
	for k, m := range parents {
		if words := wordPieces(m).Below; words != tok.Size() {
			return nil, fmt.Errorf("parent %d reads a vocabulary of %d word pieces, the tokenizer has %d", k, words, tok.Size())
		}
	}
	return tok, nil
}

// longest is the length of the sequences of parents that would read longer ones.
const longest = 128

// Length checks that parents find masked words in sequences of one length, and
// returns it.
func Length(parents []*models.Model) (int, error) {
	length := wordPieces(parents[0]).Longest
	for k, m := range parents {
		if want := models.BERTForMaskedLM().Class; m.Arch.Class != want {
			return 0, fmt.Errorf("parent %d is a %s, want a %s", k, m.Arch.Class, want)
		}
		if own := wordPieces(m).Longest; own != length {
			return 0, fmt.Errorf("parent %d reads sequences of up to %d word pieces, parent 0 of %d", k, own, length)
		}
	}
	return min(length, longest), nil
}
