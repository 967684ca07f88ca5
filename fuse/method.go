package fuse

import (
	"context"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Method brings models into the basis of an anchor: [Vanilla], [Transport],
// [Matching] or, to train further, [Distil]. All [Settings] are honored for all methods.
type Method interface {
	// Align carries others into the basis of anchor. It leaves its arguments as
	// they are; what it returns holds one set of parameters for each of others,
	// with the names and shapes of the anchor's.
	Align(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (*Aligned, error)
}

// Vanilla leaves every model in its own basis, so that fusing takes the plain
// mean of weights. It is the baseline that alignment has to beat.
type Vanilla struct{}

// Align implements [Method]. The models must have the same shapes.
func (v Vanilla) Align(ctx context.Context, anchor *models.Model, others []*models.Model,
	s Settings) (*Aligned, error) {
	return alignEach(ctx, v, anchor, others, s)
}

// A single is a method that carries every source by itself, tensor by tensor, so
// that neither the sources nor the anchor need to be held in memory.
type single interface {
	carryEach(ctx context.Context, c carriage, s Settings) ([]NodeReport, error)
}

// A carriage takes one source onto the anchor.
type carriage struct {
	index          int // of the source among the others
	source, anchor *models.Model
	put            func(graph.Param, tensor) error // takes the carried tensor of a parameter of the anchor
}

// carryEach puts the parameters of the source where they are.
func (Vanilla) carryEach(ctx context.Context, c carriage, s Settings) ([]NodeReport, error) {
	for i, n := range c.source.Graph.Nodes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for k, p := range n.Params {
			to := c.anchor.Graph.Nodes[i].Params[k]
			if !slices.Equal(p.Shape, to.Shape) {
				return nil, &MismatchError{fmt.Sprintf("tensor %q, which is not transported,", p.Name),
					fmt.Sprint(p.Full()), fmt.Sprint(to.Full())}
			}
			w, err := readPart(c.source, p)
			if err != nil {
				return nil, err
			}
			if err := c.put(to, w); err != nil {
				return nil, err
			}
		}
	}
	s.observe("averaging", "", c.index+1, 0)
	return nil, nil
}

// alignEach carries every source by itself and keeps what comes of it.
func alignEach(ctx context.Context, by single, anchor *models.Model, others []*models.Model,
	s Settings) (*Aligned, error) {
	anchor, err := anchor.Load()
	if err != nil {
		return nil, err
	}
	out := &Aligned{Anchor: anchor}
	for i, m := range others {
		carried := models.Params{}
		put := func(p graph.Param, t tensor) error {
			storePart(carried, p, t, anchor.Params[p.Name].DType)
			return nil
		}
		nodes, err := by.carryEach(ctx, carriage{i, m, anchor, put}, s)
		if err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		out.Others, out.Nodes = append(out.Others, carried), append(out.Nodes, nodes...)
	}
	return out, nil
}

// streamMean carries every source by itself, each tensor straight into the mean.
func streamMean(ctx context.Context, by single, anchor *models.Model, others []*models.Model,
	s Settings) (*models.Model, []NodeReport, error) {
	var nodes []NodeReport
	mean := mean{anchor, s.Weights[0], models.Params{}}
	for i, m := range others {
		more, err := by.carryEach(ctx, carriage{i, m, anchor, mean.adderOf(s.Weights[i+1])}, s)
		if err != nil {
			return nil, nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		nodes = append(nodes, more...)
	}
	return anchor.With(mean.sum), nodes, nil
}

// A mean grows tensor by tensor.
type mean struct {
	anchor *models.Model
	share  float64 // of the anchor
	sum    models.Params
}

// adderOf returns a function that adds tensors with weight w.
func (m mean) adderOf(w float64) func(graph.Param, tensor) error {
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
		add(to, p, t, w)
		return nil
	}
}

// best is the method that is used where none is given.
func best(s Settings) Method {
	if s.Calibration == nil {
		return Matching{}
	}
	return Matching{Mix: defaultMix}
}

// defaultMix is the share of activations beside weights that did best on the
// vision transformers and language models that it was tried on.
const defaultMix = 0.3
