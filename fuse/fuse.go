package fuse

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/otfuse/otfuse/models"
)

// Into fuses others into the basis of anchor: all are aligned, then their
// weighted mean is taken. A nil opt is the paper's recipe on weights. The result
// is a model of the anchor's size; the inputs are left as they are.
func Into(ctx context.Context, anchor *models.Model, others []*models.Model, opt *Options) (*models.Model, *Report, error) {
	o, started := opt.withDefaults(), time.Now()
	w, err := shares(o.Weights, len(others)+1)
	if err != nil {
		return nil, nil, err
	}
	aligned, report, err := Align(ctx, anchor, others, opt)
	if err != nil {
		return nil, nil, err
	}
	if o.Matching != nil {
		anchor = Canonical(anchor)
	}
	mean, err := Average(aligned, w)
	if err != nil {
		return nil, nil, err
	}
	fused := anchor.With(mean)
	if o.Ridge != 0 {
		if fused, err = (Refit{o.Ridge, w, o.Calibration}).Fit(ctx, fused, aligned...); err != nil {
			return nil, nil, err
		}
	}
	report.Seconds = time.Since(started).Seconds()
	return fused, report, nil
}

// A Source opens a model when its turn has come.
type Source func() (*models.Model, error)

// Stream is [Into] for models that are not to be in memory together: each is
// opened once the one before it is done with. Matching and refits look at all
// models at once, so under them Stream opens all.
func Stream(ctx context.Context, anchor *models.Model, others []Source, opt *Options) (*models.Model, *Report, error) {
	o, started, report := opt.withDefaults(), time.Now(), &Report{}
	w, err := shares(o.Weights, len(others)+1)
	if err != nil {
		return nil, nil, err
	}
	if o.Matching != nil || o.Ridge != 0 || len(others) == 0 {
		all := make([]*models.Model, len(others))
		for i, open := range others {
			if all[i], err = open(); err != nil {
				return nil, nil, err
			}
		}
		return Into(ctx, anchor, all, opt)
	}
	sum := scaled(anchor.Params, w[0])
	for i, open := range others {
		m, err := open()
		if err != nil {
			return nil, nil, err
		}
		p, r, err := Transport(ctx, m, anchor, opt)
		if err != nil {
			return nil, nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		for _, n := range r.Nodes {
			n.Source = i
			report.Nodes = append(report.Nodes, n)
		}
		accumulate(sum, p, w[i+1])
	}
	report.Seconds = time.Since(started).Seconds()
	return anchor.With(sum), report, nil
}

// Align carries others into the basis of anchor and returns the parameters of
// all, the anchor's first, with its shapes: each other by itself or, under
// Options.Matching, all of them together and the anchor in [Canonical] form.
func Align(ctx context.Context, anchor *models.Model, others []*models.Model, opt *Options) ([]models.Params, *Report, error) {
	o, started, report := opt.withDefaults(), time.Now(), &Report{}
	if len(others) == 0 {
		return nil, nil, fmt.Errorf("fuse: nothing to fuse into the anchor")
	}
	for i, m := range others {
		if err := Check(m, anchor); err != nil {
			return nil, nil, fmt.Errorf("model %d: %w", i+1, err)
		}
	}
	if o.Matching != nil {
		anchor = Canonical(anchor)
		moved, nodes, err := match(ctx, anchor, others, o)
		if err != nil {
			return nil, nil, fmt.Errorf("fuse: %w", err)
		}
		report.Nodes, report.Seconds = nodes, time.Since(started).Seconds()
		return append([]models.Params{anchor.Params}, moved...), report, nil
	}
	out := []models.Params{anchor.Params}
	for i, m := range others {
		p, nodes, err := run(ctx, i, m, anchor, o)
		if err != nil {
			return nil, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
		out, report.Nodes = append(out, p), append(report.Nodes, nodes...)
	}
	report.Seconds = time.Since(started).Seconds()
	return out, report, nil
}

// Transport returns the parameters of src in the basis of anchor, with the
// shapes of the anchor; under Options.Matching in that of [Canonical] anchor.
func Transport(ctx context.Context, src, anchor *models.Model, opt *Options) (models.Params, *Report, error) {
	aligned, report, err := Align(ctx, anchor, []*models.Model{src}, opt)
	if err != nil {
		return nil, nil, err
	}
	return aligned[1], report, nil
}

// Average returns the weighted mean of parameters of the same names and shapes;
// nil weights are equal. By itself it is vanilla fusion.
func Average(params []models.Params, w []float64) (models.Params, error) {
	w, err := shares(w, len(params))
	if err != nil {
		return nil, err
	}
	for i, p := range params[1:] {
		if len(p) != len(params[0]) {
			return nil, &MismatchError{"number of tensors", fmt.Sprintf("%d (model %d)", len(p), i+1), fmt.Sprint(len(params[0]))}
		}
		for name, t := range params[0] {
			if !slices.Equal(t.Shape, p[name].Shape) {
				return nil, &MismatchError{fmt.Sprintf("tensor %q", name), fmt.Sprintf("%v (model %d)", p[name].Shape, i+1), fmt.Sprint(t.Shape)}
			}
		}
	}
	sum := scaled(params[0], w[0])
	for i, p := range params[1:] {
		accumulate(sum, p, w[i+1])
	}
	return sum, nil
}

func scaled(p models.Params, w float64) models.Params {
	out := make(models.Params, len(p))
	for name, t := range p {
		data := make([]float32, len(t.Data))
		for i, v := range t.Data {
			data[i] = float32(w * float64(v))
		}
		out[name] = models.Tensor{DType: t.DType, Shape: t.Shape, Data: data}
	}
	return out
}

func accumulate(sum, p models.Params, w float64) {
	if w == 0 {
		return
	}
	for name, t := range p {
		to := sum[name].Data
		for i, v := range t.Data {
			to[i] = float32(float64(to[i]) + w*float64(v))
		}
	}
}
