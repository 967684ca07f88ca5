package gomlx

import (
	"cmp"
	"context"
	"errors"

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
	run := distillation{Distiller: l, trainer: t, best: student}
	if err := run.train(ctx); err != nil {
		return nil, located(StageDistil, err)
	}
	return run.best, nil
}

// A distillation is one call of Distil.
type distillation struct {
	*Distiller
	trainer *Trainer
	best    *models.Model
}

// errPatience ends a training that gains nothing any more.
var errPatience = errors.New("no gain")

// train makes the updates and keeps the best state, or the last.
func (r *distillation) train(ctx context.Context) error {
	first, err := r.Batches(0)
	if err != nil {
		return located("batch of step 0", err)
	}
	choice := selection{samples: r.HeldOut, size: first.Len(), every: r.Every, patience: r.Patience,
		steps: r.trainer.config.Steps, loss: r.trainer.Loss, keep: r.keep, observe: r.report}
	if err := choice.check(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	observe := func(p models.Progress) {
		if p.Done > 0 {
			p.Stage = StageDistil
			r.report(p)
		}
		ended, err := choice.after(ctx, p.Done)
		if err == nil && ended {
			err = errPatience
		}
		if err != nil {
			stop(err)
		}
	}
	if err := Fit(ctx, r.trainer, r.Batches, FitOptions{Observe: observe}); !errors.Is(err, errPatience) {
		return err
	}
	return nil
}

// keep keeps the student as it is now.
func (r *distillation) keep() (err error) {
	if r.trainer.Step() > 0 { // before, it is the student as it came
		r.best, err = r.trainer.Model()
	}
	return err
}

func (r *distillation) report(p models.Progress) {
	if r.Observe != nil {
		r.Observe(p)
	}
}
