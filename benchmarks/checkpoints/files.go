package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// files is the task of files of samples: one to align on, others to score on.
type files struct {
	calib string
	eval  []string

	samples models.Batch
	tests   []models.Batch
	scores  map[gomlx.Score][]gomlx.Score // of every network on all tests: those on each
}

// scored is the number of samples scored at a time.
const scored = 50

// Names implements [lab.Task].
func (f *files) Names() (name, label string) { return "files", filepath.Base(f.calib) }

// Unit implements [lab.Task].
func (f *files) Unit() string { return "samples" }

// Size implements [lab.Task].
func (f *files) Size() int { return f.samples.Len() }

// Tests implements [lab.Task].
func (f *files) Tests() (n int) {
	for _, t := range f.tests {
		n += t.Len()
	}
	return n
}

// Accept implements [lab.Task]: the files are read as the parents read samples.
func (f *files) Accept(parents []*models.Model) error {
	for _, m := range parents {
		calib, err := m.ReadSamples(f.calib)
		if err != nil {
			return err
		}
		f.samples, f.tests = calib, nil
		for _, file := range f.eval {
			test, err := m.ReadSamples(file)
			if err != nil {
				return err
			}
			if _, ok := test[models.Labels]; !ok {
				return fmt.Errorf("%s has no labels", file)
			}
			f.tests = append(f.tests, test)
		}
	}
	return lab.CheckParents(parents)
}

// First implements [lab.Task].
func (f *files) First(n int) []int {
	idx := make([]int, min(n, f.Size()))
	for k := range idx {
		idx[k] = k
	}
	return idx
}

// Samples implements [lab.Task].
func (f *files) Samples(idx []int) (models.Batch, error) { return f.samples.Pick(idx), nil }

// Batches implements [lab.Task].
func (f *files) Batches(idx []int, size int, seed uint64) lab.Batches {
	if idx == nil {
		idx = f.First(f.Size())
	}
	views := data.Views{Samples: f.samples.Pick(idx), Size: size, Seed: seed}
	return lab.Batches{At: views.Batch, PerEpoch: max(len(idx)/size, 1)}
}

// Score implements [lab.Task].
func (f *files) Score(ctx context.Context, d *gomlx.Device, ms ...*models.Model) (gomlx.Score, error) {
	var all gomlx.Score
	var each []gomlx.Score
	for k, test := range f.tests {
		s, err := d.Evaluate(ctx, test, scored, ms...)
		if err != nil {
			return all, fmt.Errorf("%s: %w", f.eval[k], err)
		}
		all, each = all.Add(s), append(each, s)
	}
	f.scores[all] = each
	return all, nil
}

// Quick implements [lab.Task].
func (f *files) Quick(n int) (models.Batch, int, error) {
	return f.tests[0].Slice(0, min(n, f.tests[0].Len())), scored, nil
}

// Network implements [lab.Task]. Nothing is trained from scratch.
func (f *files) Network(lab.Net) (*models.Model, error) {
	return nil, fmt.Errorf("checkpoints: %w", errors.ErrUnsupported)
}
