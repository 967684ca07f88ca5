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
	values  func() ([][]float32, error) // of the parameters as they are
	observe func(models.Progress)
	memory
}

// A memory is what a selection has found, which a checkpoint keeps.
type memory struct {
	next     int         // updates after which there may be a comparison again
	lowest   float64     // loss of the best state
	missed   int         // comparisons since then
	best     [][]float32 // values of the parameters in the best state; nil before there is one
	bestStep int         // updates before it
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
	case s.hasEnded():
		return true, nil
	case step < s.next: // before the run was interrupted
		return false, nil
	case s.samples == nil && step == s.steps:
		return false, s.keep(step)
	case s.samples == nil || step%every > 0 && step < s.steps:
		return false, nil
	}
	loss, err := s.meanLoss(ctx)
	if err != nil {
		return false, err
	}
	s.observe(models.Progress{Stage: StageHeldOut, Done: step, Total: s.steps, Loss: loss})
	if s.best == nil || loss < s.lowest {
		s.lowest, s.missed = loss, 0
		return false, s.keep(step)
	}
	s.next = step + 1
	s.missed++
	return s.hasEnded(), nil
}

// hasEnded reports whether there were as many comparisons without gain as patience allows.
func (s *selection) hasEnded() bool { return s.patience > 0 && s.missed >= s.patience }

// keep keeps the state as it is.
func (s *selection) keep(step int) (err error) {
	s.next, s.bestStep = step+1, step
	s.best, err = s.values()
	return err
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
