package fuse

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/models"
)

// Aligned are models in one basis, that of the anchor.
type Aligned struct {
	Anchor *models.Model   // under [Matching] in [Canonical] form
	Others []models.Params // of each other model, with the names and shapes of the anchor's
	Nodes  []NodeReport    // of every source in turn, nodes in order; may be empty

	// Circuits says that a mean is taken of what heads compute with, the products of
	// queries with keys and of values with the layer that reads them, cut back to
	// the width of a head. [Matching] without a Learner sets it: a Learner's maps
	// are made for the mean of the factors.
	Circuits bool

	// Originals are the models as they were, the anchor first, or none. [Matching] keeps them
	// where widths differ, and [Concatenation]: a model that was carried into fewer units no
	// longer computes what it did, so that a [Refit] fits to what the original writes, carried.
	Originals []Original
}

// An Original is a model in its own units, and the way out of them.
type Original struct {
	Model *models.Model

	// Carry returns the matrix [units × units of the anchor] by the columns of which what a
	// node writes is carried; nil where it stays as it is.
	Carry func(n *graph.Node) *mat.Dense
}

// teachers are what a refit fits to, the anchor first.
func (a *Aligned) teachers() []Original {
	if a.Originals != nil {
		return a.Originals
	}
	return teachersOf(a.Anchor, a.Params())
}

// teachersOf are models of one architecture and basis.
func teachersOf(m *models.Model, params []models.Params) []Original {
	var out []Original
	for _, p := range params {
		out = append(out, Original{Model: m.With(p)})
	}
	return out
}

// carried returns what a node writes in the units of the anchor, of what it writes in those of
// the original: moments [units × …] and means.
func (o Original) carried(n *graph.Node, cross mat.Matrix, mean []float64) (mat.Matrix, []float64) {
	if o.Carry == nil {
		return cross, mean
	}
	by := o.Carry(n)
	if by == nil {
		return cross, mean
	}
	var moments mat.Dense
	moments.Mul(by.T(), cross)
	var means mat.VecDense
	means.MulVec(by.T(), mat.NewVecDense(len(mean), mean))
	return &moments, means.RawVector().Data
}

// Mean returns the weighted mean of the anchor and the others, whose weights
// follow that of the anchor: finite and of sum 1. Nil weights are equal.
func (a *Aligned) Mean(weights []float64) (*models.Model, error) {
	p, err := average(a.Params(), weights)
	if err == nil && a.Circuits {
		err = replaceCircuits(a.Anchor.Graph, a.Params(), weights, p)
	}
	if err != nil {
		return nil, fmt.Errorf("fuse: %w", err)
	}
	return a.Anchor.With(p), nil
}

// meanUnlessEnded is Mean, unless the context ends.
func (a *Aligned) meanUnlessEnded(ctx context.Context, weights []float64) (*models.Model, error) {
	return interruptible.Value(ctx, func() (*models.Model, error) { return a.Mean(weights) })
}

// Params returns the parameters of all models, the anchor's first.
func (a *Aligned) Params() []models.Params {
	return append([]models.Params{a.Anchor.Params}, a.Others...)
}

// Line returns the point t on the line from the anchor (t = 0) to the first of
// the others (t = 1): the mean with weights 1−t and t.
func (a *Aligned) Line(t float64) (*models.Model, error) {
	if len(a.Others) == 0 {
		return nil, errNothing
	}
	return (&Aligned{Anchor: a.Anchor, Others: a.Others[:1], Circuits: a.Circuits}).Mean([]float64{1 - t, t})
}

// check reports what a method returned that is no alignment of k models with
// the anchor.
func (a *Aligned) check(anchor *models.Model, k int) error {
	switch {
	case a == nil || a.Anchor == nil:
		return errors.New("the method returned no models")
	case len(a.Others) != k:
		return fmt.Errorf("the method returned %d models for %d", len(a.Others), k)
	case a.Originals != nil && len(a.Originals) != k+1:
		return fmt.Errorf("the method returned %d originals for %d models", len(a.Originals), k+1)
	}
	want := anchor.Shapes()
	for i, p := range a.Params() {
		if err := sameShapes(want, p); err != nil {
			return fmt.Errorf("the method returned model %d: %w", i, err)
		}
	}
	return nil
}

// sameShapes reports the first difference between parameters and the shapes
// that they should have.
func sameShapes(want map[string][]int, p models.Params) error {
	if p == nil {
		return models.ErrNoParams
	}
	if len(p) != len(want) {
		return &MismatchError{"number of tensors", fmt.Sprint(len(p)), fmt.Sprint(len(want))}
	}
	for name, shape := range want {
		if t := p[name]; !slices.Equal(t.Shape, shape) || len(t.Data) != valueCount(shape) {
			return &MismatchError{fmt.Sprintf("tensor %q", name), fmt.Sprintf("%v of %d values", t.Shape, len(t.Data)),
				fmt.Sprint(shape)}
		}
	}
	return nil
}

// average returns the weighted mean of parameters of the same names and shapes.
func average(params []models.Params, w []float64) (models.Params, error) {
	w, err := modelWeights(w, len(params))
	if err != nil {
		return nil, err
	}
	for i, p := range params[1:] {
		if err := sameShapes(params[0].Shapes(), p); err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
	}
	sum := scaledParams(params[0], w[0])
	for i, p := range params[1:] {
		accumulate(sum, p, w[i+1])
	}
	return sum, nil
}

func scaledParams(p models.Params, w float64) models.Params {
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

// increase adds w times x. A weight of 0 adds nothing, whatever x holds.
func increase(sum, x []float32, w float64) {
	if w == 0 {
		return
	}
	for i, v := range x {
		sum[i] = float32(float64(sum[i]) + w*float64(v))
	}
}
