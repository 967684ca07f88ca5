package lab

import (
	"context"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// Task is what networks are about: a training and a test set, how samples become
// batches, and how networks are scored.
type Task interface {
	// Names returns the short name of the data set and what results on it must be
	// called.
	Names() (name, label string)
	Unit() string // what samples are called: "images"
	Size() int    // training samples
	Tests() int   // test samples that Score scores on

	// Accept makes the task ready for parents and reports the first that does not
	// fit. It comes before all that follows.
	Accept(parents []*models.Model) error

	// First returns n training samples that stand for all.
	First(n int) []int

	// Samples returns training samples as one batch, to align on.
	Samples(idx []int) (models.Batch, error)

	// Batches returns batches of training samples to train on, all of them where
	// idx is nil. Small sets give smaller batches than size.
	Batches(idx []int, size int, seed uint64) Batches

	// Score scores a network, or several as their ensemble, on all test samples.
	Score(ctx context.Context, d *gomlx.Device, ms ...*models.Model) (gomlx.Score, error)

	// Quick returns at most n test samples for scores that are only drawn, and how
	// many of them are scored at a time.
	Quick(n int) (samples models.Batch, size int, err error)

	// Network draws a network that is not trained yet.
	Network(n Net) (*models.Model, error)
}

// Batches are the batches of a training.
type Batches struct {
	At       gomlx.Batches
	PerEpoch int
}

// unlabelled returns the batches without labels.
func (b Batches) unlabelled() Batches {
	at := func(step int) (models.Batch, error) {
		batch, err := b.At(step)
		delete(batch, models.Labels)
		return batch, err
	}
	return Batches{at, b.PerEpoch}
}

// The seeds of batches are those of a program shifted, so that no two purposes
// see the same order.
const (
	tuneSeed     = 1_000_003 // of finetuning
	learnSeed    = 2_000_003 // of learned matching
	classifySeed = 3_000_003 // of finetuning on labelled sentences
	distilSeed   = 4_000_003 // of distillation
)

// TuneBatches returns the batches of finetuning on a task.
func TuneBatches(t Task, size int, seed uint64) Batches { return t.Batches(nil, size, tuneSeed+seed) }

// Net is a transformer to be trained; its MLPs are four times as wide as its
// residual stream.
type Net struct {
	Class  string  `json:"class,omitempty"` // of package models; empty means ViTForImageClassification or BertForMaskedLM
	Width  int     `json:"width"`
	Depth  int     `json:"depth"`
	Heads  int     `json:"heads"`
	Patch  int     `json:"patch"` // pixels; 0 for text
	Seed   uint64  `json:"seed"`
	Words  int     `json:"words,omitempty"`  // most word pieces of the vocabulary; 0 for images
	Length int     `json:"length,omitempty"` // word pieces of a sequence; 0 for images
	Std    float64 `json:"std,omitempty"`    // standard deviation of the initial weights; 0 means 0.02
}

// initialStd is the standard deviation of initial weights where a Net names none.
const initialStd = 0.02

func (n Net) initialStd() float64 {
	if n.Std == 0 {
		return initialStd
	}
	return n.Std
}

// Schedule says how long, how fast and in what portions a network learns, by
// AdamW on a cosine.
type Schedule struct {
	Epochs      float64 `json:"epochs"`
	Warmup      float64 `json:"warmup_epochs"`
	Batch       int     `json:"batch"`      // samples at a time
	Accumulate  int     `json:"accumulate"` // batches of an update
	LR          float64 `json:"lr"`         // peak
	MinLR       float64 `json:"min_lr"`     // at the end
	WeightDecay float64 `json:"weight_decay"`
	Clip        float64 `json:"clip"` // norm of the gradient; 0 means no clipping
}

// Config is the schedule over a set of which an epoch has so many batches.
func (s Schedule) Config(batches int) gomlx.TrainConfig {
	per := float64(batches) / float64(max(s.Accumulate, 1))
	steps := max(int(s.Epochs*per), 1)
	return gomlx.TrainConfig{Steps: steps, Warmup: min(int(s.Warmup*per), steps), Accumulate: s.Accumulate,
		LR: s.LR, MinLR: s.MinLR, WeightDecay: s.WeightDecay, Clip: s.Clip}
}
