package gomlx

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/models"
)

// A Distiller trains models on the answers of others, as [Device.Student] says. It
// is a fuse.Distiller, made by [Device.Distiller].
type Distiller struct {
	device *Device

	Config  TrainConfig // Steps 0 means 300, LR 0 means 3e-4
	Batches Batches     // of the inputs of the models; of labels only models.Ignore counts

	// HeldOut are samples that are not trained on. The student is compared with the
	// teachers on them before the first update and now and then after that, and the
	// state that was nearest is what Distil returns. Nil returns the last state.
	HeldOut models.Batch

	Every    int                   // updates between two comparisons; 0 means a tenth of all
	Patience int                   // comparisons without gain that end the training; 0 means never
	Observe  func(models.Progress) // told after each update and each comparison; nil for nobody

	// Checkpoint is a file with the state of the training, which is kept and which Distil
	// resumes from as [Fit] does; empty for none. Data says what Batches and HeldOut are of,
	// such as a digest of all samples; the models tell themselves apart.
	Checkpoint, Data string
}

// StageDistil is the stage under which a [Distiller] reports the loss of an update.
const StageDistil = "distilling"

// Distiller returns a distiller on the device.
func (d *Device) Distiller(batches Batches) *Distiller {
	return &Distiller{device: d, Batches: batches}
}

// Distil implements fuse.Distiller: it returns what becomes of student by learning
// the mean of the probabilities that teachers answer; weights are those of
// [Device.Student].
func (l *Distiller) Distil(
	ctx context.Context, student *models.Model, teachers []*models.Model, weights []float64,
) (_ *models.Model, err error) {
	if err := l.device.check(); err != nil {
		return nil, err
	}
	if l.Batches == nil {
		return nil, located(StageDistil, errors.New("there are no Batches"))
	}
	c := l.Config
	c.Steps, c.LR = cmp.Or(c.Steps, 300), cmp.Or(c.LR, 3e-4)
	t, err := l.device.Student(student, teachers, weights, c)
	if err != nil {
		return nil, located(StageDistil, err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	run := distillation{Distiller: l, trainer: t}
	if l.Checkpoint != "" {
		if run.of, err = dataOf(l.Data, append([]*models.Model{student}, teachers...), weights); err != nil {
			return nil, located(StageDistil, err)
		}
	}
	best, err := run.train(ctx)
	switch {
	case err != nil:
		return nil, located(StageDistil, err)
	case best.bestStep == 0:
		return student, nil // as it came, whatever its type
	}
	return t.modelOf(best.best), nil
}

// dataOf says what a run is of: its data in words, its models, and what else there is.
func dataOf(data string, ms []*models.Model, more ...any) (string, error) {
	for _, m := range ms {
		digest, err := m.Digest()
		if err != nil {
			return "", err
		}
		data += ", " + digest
	}
	return data + ", " + fmt.Sprint(more...), nil
}

// A distillation is one call of Distil.
type distillation struct {
	*Distiller
	trainer *Trainer
	of      string // what a checkpoint is of
}

// errPatience ends a training that gains nothing any more.
var errPatience = errors.New("no gain")

// train makes the updates and returns the best state, or the last.
func (r *distillation) train(ctx context.Context) (*memory, error) {
	first, err := r.Batches(0)
	if err != nil {
		return nil, located("batch of step 0", err)
	}
	choice := selection{samples: r.HeldOut, size: first.Len(), every: r.Every, patience: r.Patience,
		steps: r.trainer.config.Steps, loss: r.trainer.Loss, values: r.trainer.values, observe: r.report}
	if err := choice.check(); err != nil {
		return nil, err
	}
	r.trainer.memory = &choice.memory
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	started := false
	observe := func(p models.Progress) {
		if started {
			p.Stage = StageDistil
			r.report(p)
		}
		started = true
		ended, err := choice.after(ctx, p.Done)
		if err == nil && ended {
			err = errPatience
		}
		if err != nil {
			stop(err)
		}
	}
	err = Fit(ctx, r.trainer, r.Batches, FitOptions{Checkpoint: r.Checkpoint, Data: r.of, Observe: observe})
	if err != nil && !errors.Is(err, errPatience) {
		return nil, err
	}
	if r.Checkpoint == "" {
		return &choice.memory, nil
	}
	return &choice.memory, r.trainer.Save(r.Checkpoint) // with the last comparison
}

func (r *distillation) report(p models.Progress) {
	if r.Observe != nil {
		r.Observe(p)
	}
}
