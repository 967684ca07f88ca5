package fuse

import (
	"context"
	"errors"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Concatenation lays the models side by side in one network of the anchor's size. Each of
// them, the anchor too, is cut by [Matching] to its share of the width, as into an anchor that
// is lent, and has units and heads of its own in every layer; the answers are averaged. With
// a [Refit], which it should not go without, the network answers nearly as the ensemble of
// the models does: what they know is kept beside each other, where a mean of aligned weights
// has to lay it upon each other.
//
// The fused model has the anchor's shapes but not its heads, which are more and narrower: it
// has the configuration of the second model of [models.Shares]. Its norms are over all models
// together, which a refit makes up for.
//
// All weights must be above 0; they are those of the answers. All models have the same
// share of the width.
type Concatenation struct {
	Cut Matching // finds the maps; its zero value looks at weights alone, which does best
}

// errShare reports a weight for which there is nothing to lay beside the others.
var errShare = errors.New("concatenation: a weight is not above 0, and every model has its share of the width")

// Align implements [Method]. What it returns is in the basis of the fused model.
func (c Concatenation) Align(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (*Aligned,
	error) {
	all := append([]*models.Model{anchor}, others...)
	weights, err := modelWeights(s.Weights, len(all))
	if err != nil {
		return nil, err
	}
	share, whole, err := models.Shares(anchor, len(all), c.Cut.Seed)
	if err != nil {
		return nil, err
	}
	l := layout{whole: canonical(whole), weights: weights}
	s.Weights = []float64{0, 1}
	var out Aligned
	for k, m := range all {
		if weights[k] <= 0 {
			return nil, errShare
		}
		cut, err := c.Cut.Align(ctx, share, []*models.Model{m}, s)
		if err != nil {
			return nil, fmt.Errorf("model %d: %w", k, err)
		}
		l.share = cut.Anchor
		laid := l.lay(k, cut.Others[0])
		if k == 0 {
			out.Anchor = l.whole.With(laid)
		} else {
			out.Others = append(out.Others, laid)
			for _, n := range cut.Nodes {
				n.Source = k - 1
				out.Nodes = append(out.Nodes, n)
			}
		}
		out.Originals = append(out.Originals, l.original(k, cut.Originals[1]))
	}
	return &out, nil
}

// A layout says where models lie in the whole.
type layout struct {
	share, whole *models.Model // in canonical form
	weights      []float64
}

// lay returns the parameters of the whole in which share k stands alone, so that the weighted
// mean over all shares is the whole: what makes units is divided by the weight, what is in a
// basis that all models have in common is left to the mean.
func (l layout) lay(k int, share models.Params) models.Params {
	out := models.Params{}
	for i, n := range l.whole.Graph.Nodes {
		own := l.share.Graph.Nodes[i]
		for x, p := range n.Params {
			from := own.Params[x]
			factor := 1.0
			offsets := make([]int, len(p.Axes))
			for a, axis := range p.Axes {
				if l.isShared(own, axis) {
					continue
				}
				offsets[a] = k * from.Shape[a]
				if axis != graph.In && !l.answers(n) {
					factor = 1 / l.weights[k]
				}
			}
			storePart(out, p, block(fetchPart(share, from), p.Shape, offsets, factor), l.whole.DType(p.Name))
		}
	}
	return out
}

// isShared reports whether an axis of a parameter of a share lies in a basis that all models
// have in common, such as that of the input or of the answers.
func (l layout) isShared(n *graph.Node, axis graph.Axis) bool {
	at := n.Along(axis)
	if at == nil {
		return true
	}
	spaces, of := l.share.Graph.Spaces()
	return of[at.ID] < 0 || spaces[of[at.ID]].Group == graph.Trivial
}

// answers reports whether a node is the norm that logits over tied words are taken of: the
// words cannot be weighted there, so that it is.
func (l layout) answers(n *graph.Node) bool {
	if n.Op != graph.Norm {
		return false
	}
	found := false
	for _, reader := range l.whole.Graph.Nodes {
		for _, a := range reader.Args {
			if a == n {
				if reader.Op != graph.Unembed {
					return false
				}
				found = true
			}
		}
	}
	return found
}

// block returns a tensor of zeros with t, multiplied, at the offsets.
func block(t tensor, shape, offsets []int, factor float64) tensor {
	out := tensor{shape, make([]float32, valueCount(shape))}
	at := make([]int, len(shape))
	for i, v := range t.data {
		for a, rest := len(shape)-1, i; a >= 0; a-- {
			at[a], rest = offsets[a]+rest%t.shape[a], rest/t.shape[a]
		}
		place := 0
		for a, n := range shape {
			place = place*n + at[a]
		}
		out.data[place] = float32(factor * float64(v))
	}
	return out
}

// original returns what model k writes in the units of the whole.
func (l layout) original(k int, cut Original) Original {
	width, weight := len(l.weights), l.weights[k]
	return Original{cut.Model, func(n *graph.Node) *mat.Dense {
		by := cut.Carry(n)
		if by == nil {
			return nil
		}
		rows, units := by.Dims()
		out := mat.NewDense(rows, width*units, nil)
		out.Slice(0, rows, k*units, (k+1)*units).(*mat.Dense).Scale(1/weight, by)
		return out
	}}
}
