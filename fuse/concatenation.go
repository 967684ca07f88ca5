package fuse

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Concatenation lays the models side by side in one network of the anchor's size. Each of
// them, the anchor too, is cut by [Matching] to its share of the width, as into an anchor that
// is lent, and has units and heads of its own in every layer; the answers are averaged. With
// a [Refit] the network answers nearly as the ensemble of the models does: what they know is
// kept beside each other, where a mean of aligned weights has to lay it upon each other.
// Without one, by weights alone, vision transformers keep more than any mean does, and
// language models, which need all of their width, less.
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

// Check reports why so many models like the anchor cannot lie side by side: a weight that is
// not above 0, a residual stream whose basis is fixed, or units and heads of which they have
// no whole shares.
func (c Concatenation) Check(anchor *models.Model, others []*models.Model, s *Settings) error {
	set, err := s.withDefaults(len(others) + 1)
	if err == nil {
		_, _, err = c.shares(anchor, set.Weights)
	}
	return err
}

// shares draws the networks in which models with these weights lie side by side.
func (c Concatenation) shares(anchor *models.Model, weights []float64) (share, whole *models.Model, err error) {
	if slices.Min(weights) <= 0 {
		return nil, nil, errShare
	}
	if share, whole, err = models.Shares(anchor, len(weights), c.Cut.Seed); err != nil {
		return nil, nil, err
	}
	for _, stream := range anchor.Graph.FixedStreams() {
		return nil, nil, &MismatchError{"residual stream from " + stream.Nodes[0].Name + " on, whose basis is fixed,",
			fmt.Sprint(stream.Units), fmt.Sprint(share.Dims().Width)}
	}
	return share, whole, nil
}

// Align implements [Method]. What it returns is in the basis of the fused model.
func (c Concatenation) Align(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (*Aligned,
	error) {
	all := append([]*models.Model{anchor}, others...)
	weights, err := modelWeights(s.Weights, len(all))
	if err != nil {
		return nil, err
	}
	share, whole, err := c.shares(anchor, weights)
	if err != nil {
		return nil, err
	}
	whole = canonical(whole)
	s.Weights = []float64{0, 1}
	var out Aligned
	for k, m := range all {
		cut, err := c.Cut.Align(ctx, share, []*models.Model{m}, s)
		if err != nil {
			return nil, fmt.Errorf("model %d: %w", k, err)
		}
		l := newLayout(k, weights, cut.Anchor.Graph)
		placed, err := l.place(cut.Anchor.With(cut.Others[0]), whole)
		if err != nil {
			return nil, fmt.Errorf("model %d: %w", k, err)
		}
		if k == 0 {
			out.Anchor = placed
		} else {
			out.Others = append(out.Others, placed.Params)
			for _, n := range cut.Nodes {
				n.Source = k - 1
				out.Nodes = append(out.Nodes, n)
			}
		}
		out.Originals = append(out.Originals, l.original(cut.Originals[1]))
	}
	return &out, nil
}

// A layout says where one share lies in the whole. It is a [basis] in which the share stands
// alone, so that the weighted mean over all shares is the whole: what makes units is divided
// by the weight, what is in a basis that all models have in common is left to the mean.
type layout struct {
	at, shares int // the share, of so many
	weight     float64
	graph      *graph.Graph // of a share
	of         []int        // by node: its space, -1 where all models have its basis in common
}

func newLayout(at int, weights []float64, share *graph.Graph) layout {
	_, of := movableSpaces(share)
	return layout{at, len(weights), weights[at], share, of}
}

// place returns the whole with nothing but the share in it.
func (l layout) place(share, whole *models.Model) (*models.Model, error) {
	c := carriedTensors{share, share.Graph, whole.Graph, l, partsByName(whole.Graph)}
	return heldAs(whole, whole.Computed(c.Tensor))
}

// along implements [basis].
func (l layout) along(n *graph.Node, axis graph.Axis) *mover {
	at := n.Along(axis)
	if at == nil || l.of[at.ID] < 0 {
		return nil
	}
	factor := 1.0
	if axis != graph.In && !l.answers(n) {
		factor = 1 / l.weight
	}
	out := l.units(at.Units, factor).mover()
	return &out
}

// units maps the units of a node of the share to its own in the whole, multiplied.
func (l layout) units(n int, factor float64) *unitMap {
	out := &unitMap{n: n, starts: make([]int, l.shares*n+1), rows: make([]int32, n), values: make([]float64, n)}
	for j := range l.shares * n {
		out.starts[j+1] = min(max(j+1-l.at*n, 0), n)
	}
	for i := range n {
		out.rows[i], out.values[i] = int32(i), factor
	}
	return out
}

// answers reports whether a node is the norm that logits over tied words are taken of: the
// words cannot be weighted there, so that it is.
func (l layout) answers(n *graph.Node) bool {
	reads := func(u *graph.Node) bool { return slices.Contains(u.Args, n) }
	otherwise := func(u *graph.Node) bool { return reads(u) && u.Op != graph.Unembed }
	return n.Op == graph.Norm && slices.ContainsFunc(l.graph.Nodes, reads) &&
		!slices.ContainsFunc(l.graph.Nodes, otherwise)
}

// original returns what the model of the share writes in the units of the whole.
func (l layout) original(cut Original) Original {
	return Original{cut.Model, func(n *graph.Node) *mat.Dense {
		by := cut.Carry(n)
		if by == nil {
			return nil
		}
		rows, units := by.Dims()
		out := mat.NewDense(rows, l.shares*units, nil)
		out.Slice(0, rows, l.at*units, (l.at+1)*units).(*mat.Dense).Scale(1/l.weight, by)
		return out
	}}
}
