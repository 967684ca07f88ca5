package gomlx

import (
	"cmp"
	"context"
	"errors"
	"math"

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

// The stages under which a [Distiller] reports: the loss of an update, and that on
// the samples that are held out.
const (
	StageDistil  = "distilling"
	StageHeldOut = "held-out answers"
)

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
	if l.Every < 0 || l.Patience < 0 {
		return nil, located(StageDistil, errors.New("Every and Patience must be at least 0"))
	}
	c := l.Config
	c.Steps, c.LR = cmp.Or(c.Steps, 300), cmp.Or(c.LR, 3e-4)
	t, err := l.device.Student(student, teachers, weights, c)
	if err != nil {
		return nil, located(StageDistil, err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	run := distillation{Distiller: l, trainer: t, best: student, lowest: math.Inf(1)}
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
	lowest  float64 // loss on what is held out, of best
	missed  int     // comparisons since then
}

// errPatience ends a training that gains nothing any more.
var errPatience = errors.New("no gain")

// train makes the updates and keeps the best state, or the last.
func (r *distillation) train(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	every := cmp.Or(r.Every, max(r.trainer.config.Steps/10, 1))
	observe := func(p models.Progress) {
		if p.Done > 0 {
			p.Stage = StageDistil
			r.report(p)
		}
		if p.Done%every == 0 || p.Done == p.Total {
			if err := r.compare(ctx); err != nil {
				stop(err)
			}
		}
	}
	err := Fit(ctx, r.trainer, r.Batches, FitOptions{Observe: observe})
	if err != nil && !errors.Is(err, errPatience) {
		return err
	}
	if r.HeldOut == nil {
		r.best, err = r.trainer.Model()
		return err
	}
	return nil
}

// compare compares the student with the teachers on what is held out.
func (r *distillation) compare(ctx context.Context) error {
	if r.HeldOut == nil {
		return nil
	}
	loss, err := r.heldOutLoss(ctx)
	if err != nil {
		return err
	}
	r.report(models.Progress{Stage: StageHeldOut, Done: r.trainer.Step(), Total: r.trainer.config.Steps, Loss: loss})
	if loss < r.lowest {
		r.lowest, r.missed = loss, 0
		if r.trainer.Step() == 0 {
			return nil // the student as it came
		}
		r.best, err = r.trainer.Model()
		return err
	}
	if r.missed++; r.missed == r.Patience {
		return errPatience
	}
	return nil
}

// heldOutLoss is the mean loss on what is held out, in portions of a batch. Samples
// that fill no portion are left out: a portion of another size would be compiled anew.
func (r *distillation) heldOutLoss(ctx context.Context) (float64, error) {
	first, err := r.Batches(0)
	if err != nil {
		return 0, located("batch of step 0", err)
	}
	size := min(max(first.Len(), 1), r.HeldOut.Len())
	portions := r.HeldOut.Len() / max(size, 1)
	var sum float64
	for k := range portions {
		loss, err := r.trainer.Loss(ctx, r.HeldOut.Slice(k*size, (k+1)*size))
		if err != nil {
			return 0, located("samples that are held out", err)
		}
		sum += loss
	}
	if portions == 0 {
		return 0, errors.New("no samples are held out")
	}
	return sum / float64(portions), nil
}

func (r *distillation) report(p models.Progress) {
	if r.Observe != nil {
		r.Observe(p)
	}
}
