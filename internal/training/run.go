// Package training runs a trainer to its last step: watched, saved now and
// then, and resumed where it stopped.
package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A Run is one training: what it sees, how it is watched.
type Run struct {
	Trainer    *gomlx.Trainer
	Feed       func(step int) (models.Batch, error) // from the step alone, so that a run resumes exactly; called ahead, see [data.Prefetch]
	Accumulate int                                  // batches of a step, that of the trainer; 0 means 1
	Steps      int
	Save       string // checkpoint of the training; empty for none
	Every      int    // steps between two looks
	Look       func(step int, m *models.Model) error
}

// saveEvery is the time between two checkpoints of a training.
const saveEvery = time.Minute

// Do trains to the last step, or until ctx is done: then what was reached is
// in the checkpoint, and the same call goes on from there.
func (r Run) Do(ctx context.Context, label string) (*models.Model, error) {
	t := r.Trainer
	if r.Save != "" {
		switch err := t.Load(r.Save); {
		case err == nil:
			cli.Notice("%s: going on at step %d of %s", label, t.Step(), r.Save)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	r.Feed = data.Prefetch(max(r.Accumulate, 1), r.Feed) // the next step's, while one computes
	bar := cli.NewProgress(label, r.Steps, t.Step())
	last := time.Now()
	for t.Step() < r.Steps {
		batches, err := r.batches(t.Step())
		if err != nil {
			return nil, err
		}
		loss, err := t.Update(ctx, batches...)
		if err != nil {
			return nil, errors.Join(err, r.Keep())
		}
		bar.Step(fmt.Sprintf("loss %.3f", loss))
		if t.Step()%r.Every == 0 || t.Step() == r.Steps {
			m, err := t.Model()
			if err == nil {
				err = r.Look(t.Step(), m)
			}
			if err != nil {
				return nil, errors.Join(err, r.Keep())
			}
		}
		if time.Since(last) > saveEvery {
			if err := r.Keep(); err != nil {
				return nil, err
			}
			last = time.Now()
		}
	}
	bar.Done()
	return t.Model()
}

// batches returns what a step is made from.
func (r Run) batches(step int) ([]models.Batch, error) {
	out := make([]models.Batch, max(r.Accumulate, 1))
	for i := range out {
		var err error
		if out[i], err = r.Feed(step*len(out) + i); err != nil {
			return nil, err
		}
	}
	return out, nil
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
		return errors.Join(err, r.Keep())
	}
	if err := os.Remove(r.Save); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cli.Notice("saved %s", dir)
	return nil
}

// Keep writes what was reached to the checkpoint, where there is to be one.
func (r Run) Keep() error {
	if r.Save == "" {
		return nil
	}
	return r.Trainer.Save(r.Save)
}
