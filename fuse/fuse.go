package fuse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Into fuses others into the basis of anchor: they are aligned, then the
// weighted mean of all is taken. A nil opt is the paper's recipe on weights. The
// result is a model of the anchor's size; the inputs are left as they are.
//
// Transport looks at models tensor by tensor: where they come from
// [models.Link], the result alone is held in memory. Options.Matching and
// Options.Ridge look at all of all models and load them.
func Into(ctx context.Context, anchor *models.Model, others []*models.Model, opt *Options) (*models.Model, *Report, error) {
	o, started := opt.withDefaults(), time.Now()
	w, err := shares(o.Weights, len(others)+1)
	if err != nil {
		return nil, nil, err
	}
	if err := checkAll(anchor, others); err != nil {
		return nil, nil, err
	}
	gather := o.streamed
	if o.Matching != nil || o.Ridge != 0 {
		gather = o.gathered
	}
	fused, report, err := gather(ctx, anchor, others, w)
	if err != nil {
		return nil, nil, err
	}
	report.Seconds = time.Since(started).Seconds()
	return fused, report, nil
}

// checkAll reports what cannot be fused into anchor.
func checkAll(anchor *models.Model, others []*models.Model) error {
	if len(others) == 0 {
		return errNothing
	}
	for i, m := range others {
		if err := Check(m, anchor); err != nil {
			return fmt.Errorf("model %d: %w", i+1, err)
		}
	}
	return nil
}

// errNothing reports that there is no other model.
var errNothing = errors.New("fuse: nothing to fuse into the anchor")

// streamed carries models one by one, each tensor straight into the mean.
func (o Options) streamed(ctx context.Context, anchor *models.Model, others []*models.Model, w []float64) (*models.Model, *Report, error) {
	report, mean := &Report{}, mean{anchor, w[0], models.Params{}}
	for i, m := range others {
		nodes, err := run(ctx, move{i, m, anchor, mean.adder(w[i+1])}, o)
		if err != nil {
			return nil, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
		report.Nodes = append(report.Nodes, nodes...)
	}
	return anchor.With(mean.sum), report, nil
}

// gathered aligns all models before it takes the mean of them.
func (o Options) gathered(ctx context.Context, anchor *models.Model, others []*models.Model, w []float64) (*models.Model, *Report, error) {
	aligned, report, err := Align(ctx, anchor, others, &o)
	if err != nil {
		return nil, nil, err
	}
	o.Weights = w
	fused, err := Merge(ctx, anchor, aligned, &o)
	return fused, report, err
}

// Merge returns the weighted mean of what [Align] made of anchor and others,
// refitted where Options.Ridge says so.
func Merge(ctx context.Context, anchor *models.Model, aligned []models.Params, opt *Options) (*models.Model, error) {
	o := opt.withDefaults()
	sum, err := Average(aligned, o.Weights)
	if err != nil {
		return nil, err
	}
	fused := anchor.With(sum)
	if o.Ridge == 0 {
		return fused, nil
	}
	return Refit{o.Ridge, o.Weights, o.Calibration}.Fit(ctx, fused, aligned...)
}

// A mean grows tensor by tensor.
type mean struct {
	anchor *models.Model
	share  float64 // of the anchor
	sum    models.Params
}

// adder returns what adds tensors with weight w.
func (m mean) adder(w float64) func(graph.Param, tensor) error {
	return func(p graph.Param, t tensor) error {
		to, ok := m.sum[p.Name]
		if !ok {
			a, err := m.anchor.Tensor(p.Name)
			if err != nil {
				return err
			}
			to = models.Tensor{DType: a.DType, Shape: a.Shape, Data: multiplied(a.Data, m.share)}
			m.sum[p.Name] = to
		}
		increase(to.Data[p.Part*len(t.data):(p.Part+1)*len(t.data)], t.data, w)
		return nil
	}
}

// Align carries others into the basis of anchor and returns the parameters of
// all, the anchor's first, with its shapes: each other by itself or, under
// Options.Matching, all of them together and the anchor in [Canonical] form.
func Align(ctx context.Context, anchor *models.Model, others []*models.Model, opt *Options) ([]models.Params, *Report, error) {
	o, started := opt.withDefaults(), time.Now()
	if err := checkAll(anchor, others); err != nil {
		return nil, nil, err
	}
	all, err := loaded(append([]*models.Model{anchor}, others...))
	if err != nil {
		return nil, nil, fmt.Errorf("fuse: %w", err)
	}
	anchor, others = all[0], all[1:]
	if o.Matching != nil {
		anchor = canonical(anchor)
		moved, nodes, err := match(ctx, anchor, others, o)
		if err != nil {
			return nil, nil, fmt.Errorf("fuse: %w", err)
		}
		return append([]models.Params{anchor.Params}, moved...), &Report{nodes, time.Since(started).Seconds()}, nil
	}
	out, report := []models.Params{anchor.Params}, &Report{}
	for i, m := range others {
		moved := models.Params{}
		put := func(p graph.Param, t tensor) error {
			store(moved, p, t, anchor.Params[p.Name].DType)
			return nil
		}
		nodes, err := run(ctx, move{i, m, anchor, put}, o)
		if err != nil {
			return nil, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
		out, report.Nodes = append(out, moved), append(report.Nodes, nodes...)
	}
	report.Seconds = time.Since(started).Seconds()
	return out, report, nil
}

// loaded returns models with all their parameters in memory.
func loaded(ms []*models.Model) (_ []*models.Model, err error) {
	out := make([]*models.Model, len(ms))
	for i, m := range ms {
		if out[i], err = m.Load(); err != nil {
			return nil, err
		}
	}
	return out, nil
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
		out[name] = models.Tensor{DType: t.DType, Shape: t.Shape, Data: multiplied(t.Data, w)}
	}
	return out
}

func accumulate(sum, p models.Params, w float64) {
	for name, t := range p {
		increase(sum[name].Data, t.Data, w)
	}
}

func multiplied(x []float32, w float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(w * float64(v))
	}
	return out
}

// increase adds w times x; with weight 0 nothing, whatever x holds.
func increase(sum, x []float32, w float64) {
	if w == 0 {
		return
	}
	for i, v := range x {
		sum[i] = float32(float64(sum[i]) + w*float64(v))
	}
}
