package fuse

import (
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/ot"
)

// inputs is the basis that carries the In axes of a node alone, outputs that of
// its own units.
type (
	inputs  struct{ by *mover }
	outputs struct{ by *mover }
)

func (b inputs) along(_ *graph.Node, axis graph.Axis) *mover {
	if axis == graph.In {
		return b.by
	}
	return nil
}

// A plan carries gains as it carries biases: each unit of the anchor takes a
// convex combination of those of the source.
func (b outputs) along(_ *graph.Node, axis graph.Axis) *mover {
	if axis == graph.Out || axis == graph.Gain {
		return b.by
	}
	return nil
}

// write puts the parameters of n in the basis of the anchor.
func (t *transportRun) write(n *graph.Node, site []*graph.Node) error {
	parts, err := t.unitParts(n, site)
	if err != nil {
		return err
	}
	for i, p := range t.anchorNode(n).Params {
		w, err := t.carried(parts, i)
		if err != nil {
			return err
		}
		t.weights[n.ID].carried += sumOfSquares(w.data)
		if err := t.put(p, w); err != nil {
			return err
		}
	}
	return nil
}

// A unitPart carries the units of one node of a site to those of another.
type unitPart struct {
	from *graph.Node
	by   outputs
}

// unitParts returns what carries units to those of n: its own, or those of every
// node of a site whose units are stacked.
func (t *transportRun) unitParts(n *graph.Node, site []*graph.Node) ([]unitPart, error) {
	plan, units := t.plans[n.ID], t.anchorNode(n).Units
	switch {
	case plan.IsIdentity():
		return []unitPart{{n, outputs{}}}, nil
	case !t.isStacked(site):
		m, err := t.mover(pushMover, plan)
		return []unitPart{{n, outputs{&m}}}, err
	}
	s, at, col := plan.Push(), 0, slices.Index(site, n)*units
	var out []unitPart
	for _, from := range site {
		m := byColumns(mat.DenseCopyOf(s.Slice(at, at+from.Units, col, col+units)))
		out = append(out, unitPart{from, outputs{&m}})
		at += from.Units
	}
	return out, nil
}

// carried returns what becomes of parameter i of a site: the sum of what is
// carried from its nodes.
func (t *transportRun) carried(parts []unitPart, i int) (tensor, error) {
	var sum tensor
	for _, part := range parts {
		pulled, err := t.pulledParams(part.from)
		if err != nil {
			return tensor{}, err
		}
		w, err := t.carry(part.by, part.from, part.from.Params[i], pulled[i])
		if err != nil {
			return tensor{}, err
		}
		if sum.data == nil {
			sum = w
			continue
		}
		for x, v := range w.data {
			sum.data[x] += v
		}
	}
	return sum, nil
}

// mover makes the mover of a plan, unless the context ends.
func (t *transportRun) mover(of func(ot.Plan) mover, p ot.Plan) (mover, error) {
	return interruptible.Value(t.ctx, func() (mover, error) { return of(p), nil })
}

// carry carries parameter p of n along all of its axes, unless the context ends.
func (t *transportRun) carry(by basis, n *graph.Node, p graph.Param, w tensor) (tensor, error) {
	return interruptible.Value(t.ctx, func() (tensor, error) { return carry(by, n, p, w, -1), nil })
}

// report reports on the nodes of a site.
func (t *transportRun) report(r NodeReport, site []*graph.Node) {
	for i, n := range site {
		summary := t.summary(n)
		r.id, r.Name, r.Diagonal, r.Entropy, r.weights = n.ID, n.Name, summary.diagonal, summary.entropy, t.weights[n.ID]
		if !t.plans[n.ID].IsIdentity() {
			r.push = t.columns(n, i, len(site))
		}
		t.nodes = append(t.nodes, t.settings.kept(r))
		t.settings.observe("transporting", n.Name, len(t.nodes), len(t.plans))
	}
}

// summary measures the map that leaves n, once for all nodes that carry it.
func (t *transportRun) summary(n *graph.Node) planSummary {
	if p := t.plans[n.ID]; n.Flow() == graph.Carry && n.Units == n.Carrier().Units {
		t.summaries[n.ID] = t.summaries[n.Carrier().ID]
	} else if t.summaries[n.ID].diagonal = p.Diagonal(); !p.IsIdentity() {
		t.summaries[n.ID].entropy = p.Entropy()
	}
	return t.summaries[n.ID]
}

// columns returns the part of the push matrix that makes n, node i of a site of
// k nodes: all of it unless their units were stacked.
func (t *transportRun) columns(n *graph.Node, i, k int) func() *mat.Dense {
	p, units := t.plans[n.ID], t.anchorNode(n).Units
	return func() *mat.Dense {
		s := p.Push()
		rows, cols := s.Dims()
		if k == 1 || cols == units {
			return s
		}
		return mat.DenseCopyOf(s.Slice(0, rows, i*units, (i+1)*units))
	}
}
