package recipe

import (
	"cmp"
	"fmt"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models/gomlx"
)

// resolveDistil fills in what is absent of a distillation. Samples, their filter and
// weights are those of the start too.
func (r Recipe) resolveDistil(calibrated Data) (Recipe, error) {
	r.holdOut()
	r.Samples, r.Steps, r.Batch, r.LR = cmp.Or(r.Samples, 200), cmp.Or(r.Steps, 300), cmp.Or(r.Batch, 64),
		cmp.Or(r.LR, 3e-4)
	if err := r.check(); err != nil || r.Start == nil {
		return r, err
	}
	start := *r.Start
	if err := checkAllowed("method", cmp.Or(start.Method, Flow), untrained()...); err != nil {
		return r, fmt.Errorf("%w, in start", err)
	}
	start.Samples, start.MaxLoss, start.Weights, start.Beyond = r.Samples, r.MaxLoss, r.Weights, r.Beyond
	start, err := start.Resolve(calibrated)
	if err != nil {
		return r, fmt.Errorf("%w, in start", err)
	}
	r.Start = &start
	return r, nil
}

// distil returns the method of a distillation.
func (r Recipe) distil(by Trainers, device *gomlx.Device) (fuse.Method, *fuse.Settings, error) {
	m, s := fuse.Distil{Distiller: by.Distiller}, &fuse.Settings{Weights: r.Weights, Extrapolate: r.Beyond}
	if r.Start == nil {
		return m, s, nil
	}
	var err error
	m.Start, s, err = r.Start.Build(by, device)
	return m, s, err
}

// holdOut sets the share of the samples that answers are compared on.
func (r *Recipe) holdOut() {
	if share := 0.2; r.HeldOut == nil {
		r.HeldOut = &share
	}
}

// HeldOutOf is the number of samples, of n, that answers are compared on: those of a
// distilled model with those of all models, or of a mean by learned maps.
func (r Recipe) HeldOutOf(n int) int { return int(*r.HeldOut * float64(n)) }
