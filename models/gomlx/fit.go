package gomlx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/otfuse/otfuse/models"
)

// Batches returns the batch of a step = 0, 1, … by that number alone, so that a
// training that is interrupted resumes with the very batches it would have had.
// An update that accumulates k batches takes k steps.
type Batches func(step int) (models.Batch, error)

// StageTrain is the Stage under which [Fit] reports.
const StageTrain = "training"

// updatesBetweenCheckpoints is the number of updates after which the state of a training is
// written, unless it is set.
const updatesBetweenCheckpoints = 100

// FitOptions say how [Fit] keeps and reports what it does. The zero value keeps
// and reports nothing.
type FitOptions struct {
	// Checkpoint is a file with the state of the training, of which Fit resumes
	// where it exists and which it writes; empty for none.
	Checkpoint string

	// Data says what the batches are of, such as the data set and a seed. It is kept in
	// Checkpoint, and a checkpoint of other data is an [ErrCheckpoint]. Empty means that
	// nobody asks.
	Data string

	// Every is the number of updates between two writes of Checkpoint; 0 means 100.
	Every int

	// Observe is told before the first update (Done is the number of updates made
	// before; Item is the checkpoint that Fit resumes from, empty for none) and
	// after each update (Done and Loss). It may use the trainer and the device, for
	// example to evaluate [Trainer.Model]; nil for nobody.
	Observe func(models.Progress)
}

// Fit makes the updates that are left of a training, up to Steps of its
// [TrainConfig]. [Trainer.Model] returns what it has trained.
//
// When ctx ends, or batches or an update fail, Fit writes the checkpoint and
// returns the error, which wraps the cause of ctx. The same call then resumes and
// ends with the very bits of a training without interruption. The checkpoint of a
// finished training stays; remove it once the model is saved.
//
// One training at a time has a checkpoint: a second one, also of another process, is an
// error. The lock, a file beside the checkpoint, is free when the process ends.
//
// Batches that take long to make are best made while the device computes, see
// data.Prefetch.
func Fit(ctx context.Context, t *Trainer, batches Batches, o FitOptions) error {
	if t == nil {
		return ErrNotOpen
	}
	if batches == nil {
		return errors.New("gomlx: fit: there are no batches")
	}
	if o.Every < 0 {
		return fmt.Errorf("gomlx: fit: Every is %d, want at least 0", o.Every)
	}
	o.Every = cmp.Or(o.Every, updatesBetweenCheckpoints)
	if o.Observe == nil {
		o.Observe = func(models.Progress) {}
	}
	start := models.Progress{Stage: StageTrain}
	if o.Checkpoint != "" {
		unlock, err := lockCheckpoint(o.Checkpoint)
		if err != nil {
			return located("fit", err)
		}
		defer unlock()
		t.data = o.Data
		switch err := t.Load(o.Checkpoint); {
		case err == nil:
			start.Item = o.Checkpoint
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	start.Done, start.Total = t.Step(), t.config.Steps
	o.Observe(start)
	if err := t.updates(ctx, batches, o); err != nil {
		err = located(fmt.Sprintf("fit: stopped after %d of %d updates", t.Step(), t.config.Steps), err)
		return errors.Join(err, o.keep(t))
	}
	return nil
}

// updates makes the updates that are left.
func (t *Trainer) updates(ctx context.Context, batches Batches, o FitOptions) error {
	for ctx.Err() == nil && t.Step() < t.config.Steps {
		group := make([]models.Batch, t.config.Accumulate)
		for i := range group {
			var err error
			if group[i], err = batches(t.Step()*len(group) + i); err != nil {
				return located(fmt.Sprintf("batch of step %d", t.Step()*len(group)+i), err)
			}
		}
		loss, err := t.Update(ctx, group...)
		if err != nil && ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		if t.Step()%o.Every == 0 || t.Step() == t.config.Steps {
			if err := o.keep(t); err != nil {
				return err
			}
		}
		o.Observe(models.Progress{Stage: StageTrain, Done: t.Step(), Total: t.config.Steps, Loss: loss})
	}
	return context.Cause(ctx)
}

// keep writes the checkpoint where there is to be one.
func (o FitOptions) keep(t *Trainer) error {
	if o.Checkpoint == "" {
		return nil
	}
	return t.Save(o.Checkpoint)
}
