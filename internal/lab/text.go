package lab

import (
	"context"
	"fmt"
	"math"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/text"
)

// Text is the task of finding words of a text: those that are masked or, where the
// networks are causal, those that come next.
type Text struct {
	Corpus
	Given *Vocabulary // nil means that of the parents, or one learned from the text
	Most  int         // test sequences
	Part  Split       // of the training sequences, a tenth of the text being a class; the zero value is all

	learns      objective
	tok         *text.Tokenizer
	train, test [][]int32 // sequences of word pieces
}

// Names implements [Task].
func (t *Text) Names() (name, label string) {
	if t.Part.Parts > 0 {
		return t.Name, t.Label + ", " + t.Part.String()
	}
	return t.Name, t.Label
}

// Unit implements [Task].
func (t *Text) Unit() string { return "sequences" }

// Size implements [Task].
func (t *Text) Size() int { return len(t.train) }

// Tests implements [Task].
func (t *Text) Tests() int { return len(t.test) }

// Accept implements [Task]: the text is cut into sequences of the word pieces
// that the parents read.
func (t *Text) Accept(parents []*models.Model) error {
	var err error
	if t.learns, err = commonObjective(parents); err != nil {
		return err
	}
	if err := t.restoreVocabularies(parents); err != nil {
		return err
	}
	length, err := commonLength(parents)
	if err != nil {
		return err
	}
	var given *text.Tokenizer
	if t.Given != nil {
		given = t.Given.Tokenizer
	}
	tok, err := commonTokenizer(given, parents)
	if err != nil {
		return err
	}
	return t.packSequences(tok, length)
}

// packSequences makes sequences of the text.
func (t *Text) packSequences(tok *text.Tokenizer, length int) error {
	var err error
	if t.train, err = t.learns.pack(tok, t.Train, length); err != nil {
		return fmt.Errorf("the training part of %s: %w", t.Label, err)
	}
	if t.test, err = t.learns.pack(tok, t.Test, length); err != nil {
		return fmt.Errorf("the test part of %s: %w", t.Label, err)
	}
	t.tok, t.test = tok, t.test[:min(t.Most, len(t.test))]
	return t.restrict()
}

// textClasses is the number of stretches of a text that count as classes where it is
// split: what stands together is about the same things.
const textClasses = 10

// restrict leaves the training sequences of the part.
func (t *Text) restrict() error {
	if t.Part.Parts == 0 {
		return nil
	}
	if err := t.Part.check(); err != nil {
		return err
	}
	labels := make([]int32, len(t.train))
	for i := range labels {
		labels[i] = int32(i * textClasses / len(labels))
	}
	t.train = t.sequences(t.Part.Of(labels, textClasses))
	return nil
}

// Network implements [Task]. It makes the task ready for networks of that
// vocabulary and length.
func (t *Text) Network(n Net) (*models.Model, error) {
	t.learns = objectiveFor(n.Class)
	v := t.Given
	if v == nil {
		tok, files, err := t.learnVocabulary(t.learns, n.Words)
		if err != nil {
			return nil, err
		}
		v = &Vocabulary{tok, files}
	}
	if err := t.packSequences(v.Tokenizer, n.Length); err != nil {
		return nil, err
	}
	arch, config, err := t.learns.network(n, t.tok.Size())
	if err != nil {
		return nil, err
	}
	m, err := models.Fresh(arch, config, n.Seed, n.initialStd())
	if err != nil {
		return nil, err
	}
	m.Files = v.Files
	return m, nil
}

// First implements [Task].
func (t *Text) First(n int) []int {
	idx := make([]int, min(n, len(t.train)))
	for k := range idx {
		idx[k] = k
	}
	return idx
}

// The seeds of the masks of what is scored and calibrated on.
const (
	testMask  = 1_000_001
	calibMask = 1_000_002
)

// Samples implements [Task].
func (t *Text) Samples(idx []int) (models.Batch, error) {
	return t.learns.batch(t.tok, t.sequences(idx), calibMask, 0), nil
}

// sequences returns training sequences; nil means all.
func (t *Text) sequences(idx []int) [][]int32 {
	if idx == nil {
		return t.train
	}
	out := make([][]int32, 0, len(idx))
	for _, i := range idx {
		out = append(out, t.train[i])
	}
	return out
}

// Batches implements [Task]: sequences come in a new order in every epoch, and
// other words are masked.
func (t *Text) Batches(idx []int, size int, seed uint64) Batches {
	seqs := t.sequences(idx)
	order := data.Sampler{N: len(seqs), Batch: min(size, len(seqs)), Seed: seed}
	at := func(step int) (models.Batch, error) {
		picked := make([][]int32, 0, order.Batch)
		for _, i := range order.Indices(step) {
			picked = append(picked, seqs[i])
		}
		return t.learns.batch(t.tok, picked, seed, step), nil
	}
	return Batches{at, order.StepsPerEpoch()}
}

// scoreSequences is the number of sequences scored at a time.
const scoreSequences = 64

// Score implements [Task].
func (t *Text) Score(ctx context.Context, d *gomlx.Device, ms ...*models.Model) (gomlx.Score, error) {
	return d.Evaluate(ctx, t.learns.batch(t.tok, t.test, testMask, 0), scoreSequences, ms...)
}

// Quick implements [Task].
func (t *Text) Quick(n int) (models.Batch, int, error) {
	test := t.learns.batch(t.tok, t.test, testMask, 0)
	return test.Slice(0, min(n, test.Len())), scoreSequences, nil
}

// PseudoPerplexity scores a network, or an ensemble, on the first n test
// sequences with each of their words masked in turn (Salazar et al., "Masked
// Language Model Scoring", ACL 2020): exp of the mean loss.
func (t *Text) PseudoPerplexity(ctx context.Context, d *gomlx.Device, n int, ms ...*models.Model) (float64, error) {
	each := text.MaskEach(t.tok, t.test[:min(n, len(t.test))]...)
	s, err := d.Evaluate(ctx, each, scoreSequences, ms...)
	if err != nil {
		return 0, fmt.Errorf("pseudo-perplexity: %w", err)
	}
	return math.Exp(s.Loss), nil
}
