package fuse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otfuse/otfuse/models"
)

// Into fuses others into the basis of anchor: they are aligned, then the
// weighted mean of all is taken. A nil opt is the paper's recipe on weights. The
// result is a model of the anchor's size; the inputs are left as they are.
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
// them became, and Options.Matching looks at all of them.
func Stream(ctx context.Context, anchor *models.Model, others []Source, opt *Options) (*models.Model, *Report, error) {
	o, started := opt.withDefaults(), time.Now()
	w, err := shares(o.Weights, len(others)+1)
	if err != nil {
		return nil, nil, err
	}
	if len(others) == 0 {
		return nil, nil, errNothing
	}
	gather := o.transported
	if o.Matching != nil {
		gather = o.matched
	}
	sum, aligned, report, err := gather(ctx, anchor, others, w)
	if err != nil {
		return nil, nil, err
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

// errNothing reports that there is no other model.
var errNothing = errors.New("fuse: nothing to fuse into the anchor")

// transported carries models one by one and returns their weighted mean and,
// where a refit needs them, what they became.
func (o Options) transported(ctx context.Context, anchor *models.Model, others []Source, w []float64) (models.Params, []models.Params, *Report, error) {
	report := &Report{}
	sum, aligned := scaled(anchor.Params, w[0]), []models.Params{anchor.Params}
	for i, open := range others {
		m, err := open.checked(anchor)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
		p, nodes, err := run(ctx, i, m, anchor, o)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
		report.Nodes = append(report.Nodes, nodes...)
		accumulate(sum, p, w[i+1])
		if o.Ridge != 0 {
			aligned = append(aligned, p)
		}
	}
	return sum, aligned, report, nil
}

// matched is the same by symmetries, for all models at once.
func (o Options) matched(ctx context.Context, anchor *models.Model, others []Source, w []float64) (models.Params, []models.Params, *Report, error) {
	var all []*models.Model
	for i, open := range others {
		m, err := open.checked(anchor)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
		all = append(all, m)
	}
	aligned, report, err := Align(ctx, anchor, all, &o)
	if err != nil {
		return nil, nil, nil, err
	}
	sum, err := Average(aligned, w)
	return sum, aligned, report, err
}

// checked opens a model that is to go onto the anchor.
func (open Source) checked(anchor *models.Model) (*models.Model, error) {
	m, err := open()
	if err != nil {
		return nil, err
	}
	return m, Check(m, anchor)
}

// Align carries others into the basis of anchor and returns the parameters of
// all, the anchor's first, with its shapes: each other by itself or, under
// Options.Matching, all of them together and the anchor in [Canonical] form.
func Align(ctx context.Context, anchor *models.Model, others []*models.Model, opt *Options) ([]models.Params, *Report, error) {
	o, started := opt.withDefaults(), time.Now()
	if len(others) == 0 {
		return nil, nil, errNothing
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
		return append([]models.Params{anchor.Params}, moved...), &Report{nodes, time.Since(started).Seconds()}, nil
	}
	out, report := []models.Params{anchor.Params}, &Report{}
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
	if err := Check(src, anchor); err != nil {
		return nil, nil, err
	}
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
