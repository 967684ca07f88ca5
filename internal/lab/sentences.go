package lab

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/text"
)

// Sentences are labelled sentences, such as a task of GLUE, that networks on a text
// can be finetuned to classify.
type Sentences struct {
	Name    string
	classes []string
	tok     *text.Tokenizer
	train   [][]int32
	labels  []int32 // of train
	dev     models.Batch
}

// OpenSentences reads train.tsv and dev.tsv of a directory as word pieces of a
// text, whose parents are accepted.
func OpenSentences(dir string, t *Text) (*Sentences, error) {
	train, err := text.OpenTable(filepath.Join(dir, "train.tsv"))
	if err != nil {
		return nil, err
	}
	dev, err := text.OpenTable(filepath.Join(dir, "dev.tsv"))
	if err != nil {
		return nil, err
	}
	s := &Sentences{Name: filepath.Base(dir), classes: train.Classes(), tok: t.tok}
	if len(s.classes) < 2 {
		return nil, fmt.Errorf("train.tsv has the label %q alone", s.classes[0])
	}
	length := len(t.train[0])
	if s.train, s.labels, err = s.encode(train, length); err != nil {
		return nil, err
	}
	seqs, labels, err := s.encode(dev, length)
	if err != nil {
		return nil, fmt.Errorf("dev.tsv: %w", err)
	}
	s.dev = text.Labeled(s.tok, seqs, labels)
	return s, nil
}

// encode returns the sentences of a table as word pieces, and their labels.
func (s *Sentences) encode(t text.Table, length int) (seqs [][]int32, labels []int32, err error) {
	if labels, err = t.IDs(s.classes); err != nil {
		return nil, nil, err
	}
	seqs, err = s.tok.EncodeBatch(t.Sentences, length)
	return seqs, labels, err
}

// Batches returns the batches of finetuning.
func (s *Sentences) Batches(size int, seed uint64) Batches {
	order := data.Sampler{N: len(s.train), Batch: min(size, len(s.train)), Seed: classifySeed + seed}
	at := func(step int) (models.Batch, error) {
		var seqs [][]int32
		var labels []int32
		for _, i := range order.Indices(step) {
			seqs, labels = append(seqs, s.train[i]), append(labels, s.labels[i])
		}
		return text.Labeled(s.tok, seqs, labels), nil
	}
	return Batches{at, order.StepsPerEpoch()}
}

// Classifier makes a classifier of a masked language model, with a head that is
// drawn by a seed.
func (s *Sentences) Classifier(seed uint64) func(*models.Model) (*models.Model, error) {
	return func(m *models.Model) (*models.Model, error) { return models.Classify(m, s.classes, seed) }
}

// Score scores a classifier on dev.tsv.
func (s *Sentences) Score(ctx context.Context, d *gomlx.Device, m *models.Model) (gomlx.Score, error) {
	return d.Evaluate(ctx, s.dev, scoreSequences, m)
}
