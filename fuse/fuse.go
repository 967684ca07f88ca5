package fuse

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/otfuse/otfuse/models"
)

// Into fuses others into the basis of anchor: each is transported by itself,
// then the weighted mean of all is taken. A nil opt is the paper's recipe on
// weights. The result is a model of the anchor's size; the inputs are left as
// they are.
func Into(ctx context.Context, anchor *models.Model, others []*models.Model, opt *Options) (*models.Model, *Report, error) {
	sources := make([]Source, len(others))
	for i, m := range others {
		if err := Check(m, anchor); err != nil {
			return nil, nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		sources[i] = func() (*models.Model, error) { return m, nil }
	}
	return Stream(ctx, anchor, sources, opt)
}

// A Source opens a model when its turn has come.
type Source func() (*models.Model, error)

// Stream is [Into] for models that are not to be in memory together: each is
// opened once the one before it is done with. A refit still keeps what all of
// them became.
func Stream(ctx context.Context, anchor *models.Model, others []Source, opt *Options) (*models.Model, *Report, error) {
	o := opt.withDefaults()
	w, err := shares(o.Weights, len(others)+1)
	if err != nil {
		return nil, nil, err
	}
	if len(others) == 0 {
		return nil, nil, fmt.Errorf("fuse: nothing to fuse into the anchor")
	}
	started := time.Now()
	report := &Report{}
	if o.Matching != nil {
		anchor = Canonical(anchor)
	}
	sum, aligned := scaled(anchor.Params, w[0]), []models.Params{anchor.Params}
	for i, open := range others {
		p, nodes, err := open.carry(ctx, i, anchor, o)
		if err != nil {
			return nil, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
		report.Nodes = append(report.Nodes, nodes...)
		accumulate(sum, p, w[i+1])
		if o.Ridge != 0 {
			aligned = append(aligned, p)
		}
	}
	fused := anchor.With(sum)
	if o.Ridge != 0 {
		if fused, err = (Refit{o.Ridge, w, o.Calibration}).Fit(ctx, fused, aligned...); err != nil {
			return nil, nil, err
		}
	}
	report.Seconds = time.Since(started).Seconds()
	return fused, report, nil
}

// carry opens a model, the i-th, and transports it.
func (open Source) carry(ctx context.Context, i int, anchor *models.Model, o Options) (models.Params, []NodeReport, error) {
	m, err := open()
	if err != nil {
		return nil, nil, err
	}
	if err := Check(m, anchor); err != nil {
		return nil, nil, err
	}
	return run(ctx, i, m, anchor, o)
}

// Transport returns the parameters of src in the basis of anchor, with the
// shapes of the anchor; under Options.Matching in that of [Canonical] anchor.
func Transport(ctx context.Context, src, anchor *models.Model, opt *Options) (models.Params, *Report, error) {
	if err := Check(src, anchor); err != nil {
		return nil, nil, err
	}
	o, started := opt.withDefaults(), time.Now()
	if o.Matching != nil {
		anchor = Canonical(anchor)
	}
	p, nodes, err := run(ctx, 0, src, anchor, o)
	if err != nil {
		return nil, nil, fmt.Errorf("fuse: %w", err)
	}
	return p, &Report{Nodes: nodes, Seconds: time.Since(started).Seconds()}, nil
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
