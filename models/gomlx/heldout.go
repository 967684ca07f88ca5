package gomlx

import (
	"cmp"
	"context"
	"errors"
	"math"

	"github.com/otfuse/otfuse/models"
)

// A selection compares the states of a training on samples that are held out and
// keeps the best.
type selection struct {
	samples  models.Batch // nil keeps the last state
	size     int          // samples of a portion
	every    int          // updates between two comparisons; 0 means a tenth of all
	patience int          // comparisons without gain that end the training; 0 means never
	steps    int          // updates of the training

	loss    func(ctx context.Context, portion models.Batch) (float64, error)
	keep    func() error // keeps the state as it is
	observe func(models.Progress)

	lowest float64 // loss of what was kept
	missed int     // comparisons since then
}

// StageHeldOut is the stage under which trainings report the loss on samples that are
// held out.
const StageHeldOut = "held-out answers"

// check reports a field that is out of range.
func (s *selection) check() error {
	if s.every < 0 || s.patience < 0 {
		return errors.New("Every and Patience must be at least 0")
	}
	return nil
}

// after compares the state after some updates where it is time to. It reports whether
// patience has ended.
func (s *selection) after(ctx context.Context, step int) (ended bool, err error) {
	every := cmp.Or(s.every, max(s.steps/10, 1))
	switch {
	case s.samples == nil && step == s.steps:
		return false, s.keep()
	case s.samples == nil || step%every > 0 && step < s.steps:
		return false, nil
	}
	loss, err := s.meanLoss(ctx)
	if err != nil {
		return false, err
	}
	s.observe(models.Progress{Stage: StageHeldOut, Done: step, Total: s.steps, Loss: loss})
	if step == 0 || loss < s.lowest {
		s.lowest, s.missed = loss, 0
		return false, s.keep()
	}
	s.missed++
	return s.missed == s.patience, nil
}

// meanLoss is the mean loss in portions of a batch. Samples that fill no portion are
// left out: a portion of another size would be compiled anew.
func (s *selection) meanLoss(ctx context.Context) (float64, error) {
	size := min(max(s.size, 1), s.samples.Len())
	portions := s.samples.Len() / max(size, 1)
	if portions == 0 {
		return math.NaN(), errors.New("no samples are held out")
	}
	var sum float64
	for k := range portions {
		loss, err := s.loss(ctx, s.samples.Slice(k*size, (k+1)*size))
		if err != nil {
			return 0, located("samples that are held out", err)
		}
		sum += loss
	}
	return sum / float64(portions), nil
}
