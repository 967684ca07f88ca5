// Package training runs a trainer to its last step: watched, saved now and
// then, and resumed where it stopped.
package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A Run is one training: what it sees, how it is watched.
type Run struct {
	Trainer    *gomlx.Trainer
	Feed       gomlx.Batches // called ahead, see [data.Prefetch]
	Accumulate int           // batches of a step, that of the trainer; 0 means 1
	Steps      int           // that of the trainer
	Save       string        // checkpoint of the training; empty for none
	Every      int           // steps between two looks
	Look       func(step int, m *models.Model) error
}

// checkpoints is the number of times that a training writes its checkpoint.
const checkpoints = 100

// Do trains to the last step, or until ctx is done: then what was reached is
// in the checkpoint, and the same call goes on from there.
func (r Run) Do(ctx context.Context, label string) (*models.Model, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var bar *cli.Progress
	observe := func(p models.Progress) {
		if bar == nil {
			if p.Item != "" {
				cli.Notice("%s: going on at step %d of %s", label, p.Done, p.Item)
			}
			bar = cli.NewProgress(label, p.Total, p.Done)
			return
		}
		bar.Step(fmt.Sprintf("loss %.3f", p.Loss))
		if p.Done%r.Every == 0 || p.Done == p.Total {
			if err := r.look(p.Done); err != nil {
				stop(err)
			}
		}
	}
	feed := data.Prefetch(max(r.Accumulate, 1), r.Feed) // the next step's, while one computes
	o := gomlx.FitOptions{Checkpoint: r.Save, Every: max(r.Steps/checkpoints, 1), Observe: observe}
	if err := gomlx.Fit(ctx, r.Trainer, feed, o); err != nil {
		return nil, err
	}
	bar.Done()
	return r.Trainer.Model()
}

// look shows the model as it is after a step.
func (r Run) look(step int) error {
	m, err := r.Trainer.Model()
	if err != nil {
		return err
	}
	return r.Look(step, m)
}

// Into trains to the last step and saves the model, as finish makes it where
// that is not nil, to a directory; what served to resume is gone then.
func (r Run) Into(ctx context.Context, dir string, finish func(*models.Model) *models.Model) error {
	m, err := r.Do(ctx, "training")
	if err != nil {
		return err
	}
	if finish != nil {
		m = finish(m)
	}
	if err := m.Save(dir); err != nil {
		return err
	}
	if err := os.Remove(r.Save); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cli.Notice("saved %s", dir)
	return nil
}
