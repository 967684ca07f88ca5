package fuse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
	"gonum.org/v1/gonum/mat"
)

// transport carries one model onto the anchor.
type transport struct {
	Options
	ctx         context.Context
	source      int
	src, anchor *models.Model
	plans       []ot.Plan         // by node: the map that leaves it
	pushes      []*mat.Dense      // by node: Push of that map once asked for
	hats        [][]tensor        // by node: parameters with their In axes carried
	sites       map[int][]int     // node → IDs of the nodes its plan is solved with, itself included
	stats       map[int]siteStats // by first node of a site
	magnitudes  map[int][]float64 // by node
	out         models.Params
	nodes       []NodeReport
}

type siteStats struct{ moments *align.Moments }

// run transports src and reports on every node.
func run(ctx context.Context, source int, src, anchor *models.Model, o Options) (models.Params, []NodeReport, error) {
	n := len(src.Graph.Nodes)
	t := &transport{Options: o, ctx: ctx, source: source, src: src, anchor: anchor, plans: make([]ot.Plan, n),
		pushes: make([]*mat.Dense, n), hats: make([][]tensor, n), out: models.Params{}}
	t.sites = pairs(src.Graph, o.QK)
	if err := t.collect(); err != nil {
		return nil, nil, err
	}
	for _, n := range src.Graph.Nodes {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if err := t.visit(n); err != nil {
			return nil, nil, fmt.Errorf("%s %s: %w", n.Op, n.Name, err)
		}
	}
	return t.out, t.nodes, nil
}

// pairs says which solved nodes are solved together: queries with keys unless
// they are separate. A node alone is its own site.
func pairs(g *graph.Graph, qk QK) map[int][]int {
	sites := map[int][]int{}
	for _, n := range g.Nodes {
		if n.Flow() == graph.Solve && n.Tie == nil {
			sites[n.ID] = []int{n.ID}
		}
	}
	for _, n := range g.Nodes {
		if n.Op != graph.Attend || qk == Separate {
			continue
		}
		q, k := n.Args[0].ID, n.Args[1].ID
		if sites[q] != nil && sites[k] != nil {
			sites[q] = []int{q, k}
			sites[k] = sites[q]
		}
	}
	return sites
}

// visit finds the map that leaves n and moves its parameters.
func (t *transport) visit(n *graph.Node) error {
	started := time.Now()
	r := NodeReport{Source: t.source, Name: n.Name, Flow: n.Flow(), Tied: n.Tie != nil}
	group := []*graph.Node{n}
	var err error
	switch {
	case n.Tie != nil:
		t.plans[n.ID] = t.plans[n.Tie.ID]
	case n.Flow() == graph.Carry:
		t.plans[n.ID] = t.plans[n.Carrier().ID]
	case n.Flow() == graph.Join:
		t.plans[n.ID], err = t.join(n)
	case n.Flow() == graph.Solve:
		group = t.group(n)
		if group[len(group)-1] != n {
			return nil // waits for the rest of its site
		}
		r.Cost, r.Warning, err = t.solve(group)
	}
	if err != nil {
		return err
	}
	if a := t.anchor.Graph.Nodes[n.ID].Units; t.plans[n.ID].IsIdentity() && n.Op != graph.Const && n.Units != a {
		return &MismatchError{"width of " + n.Name + ", which has no plan,", fmt.Sprint(n.Units), fmt.Sprint(a)}
	}
	for _, m := range group {
		if err := t.move(m, group); err != nil {
			return err
		}
	}
	for i, m := range group {
		p := t.plans[m.ID]
		r.Name, r.Diagonal, r.Entropy = m.Name, p.Diagonal(), p.Entropy()
		if p.IsIdentity() {
			r.Entropy = 0
		} else {
			r.push = t.columns(m, i, len(group))
		}
		r.Duration = time.Since(started) / time.Duration(len(group))
		t.nodes = append(t.nodes, r)
		t.Observe(r)
	}
	for _, m := range group {
		t.hats[m.ID] = nil
	}
	return nil
}

// group returns the nodes of the site of n in order.
func (t *transport) group(n *graph.Node) []*graph.Node {
	var out []*graph.Node
	for _, id := range t.sites[n.ID] {
		out = append(out, t.src.Graph.Nodes[id])
	}
	if len(out) == 2 && out[0].ID > out[1].ID {
		out[0], out[1] = out[1], out[0]
	}
	return out
}

// columns returns the part of the push matrix that makes node m, the i-th of a
// site of k nodes: all of it unless their units were stacked.
func (t *transport) columns(m *graph.Node, i, k int) func() *mat.Dense {
	p, units := t.plans[m.ID], t.anchor.Graph.Nodes[m.ID].Units
	return func() *mat.Dense {
		s := p.Push()
		n, cols := s.Dims()
		if k == 1 || cols == units {
			return s
		}
		return mat.DenseCopyOf(s.Slice(0, n, i*units, (i+1)*units))
	}
}

// join merges the maps that meet at an Add.
func (t *transport) join(n *graph.Node) (ot.Plan, error) {
	bs := make([]graph.Branch, len(n.Args))
	for k, a := range n.Args {
		bs[k] = graph.Branch{Plan: t.plans[a.ID], Mag: t.magnitudes[t.measured(a).ID]}
	}
	p, err := t.Residual.Merge(bs)
	if err == nil && p.IsIdentity() && n.Units != t.anchor.Graph.Nodes[n.ID].Units {
		return graph.Identity{}.Merge(bs) // the skip is a Const, which has no plan of its own
	}
	return p, err
}

// measured returns the node at which the magnitude of a branch is taken: a
// token put before a sequence does not count.
func (t *transport) measured(n *graph.Node) *graph.Node {
	for n.Op == graph.Prepend {
		n = n.Args[0]
	}
	return n
}

// solve finds the plan of a site and gives it to all its nodes.
func (t *transport) solve(group []*graph.Node) (cost float64, warning *ot.NotConverged, err error) {
	var sites []align.Site
	if t.QK == Joint && len(group) > 1 {
		sites = []align.Site{t.site(group...)}
	} else {
		for _, n := range group {
			sites = append(sites, t.site(n))
		}
	}
	match, err := t.Aligner.Align(t.ctx, sites...)
	if err != nil && (!errors.As(err, &warning) || match.Plan.IsIdentity()) {
		return 0, nil, err
	}
	for _, n := range group {
		t.plans[n.ID] = match.Plan
	}
	return match.Cost, warning, nil
}

// site describes nodes, their units stacked, to the aligner.
func (t *transport) site(group ...*graph.Node) align.Site {
	n := group[0]
	s := align.Site{Name: n.Name, Out: n.Units, Table: n.Op == graph.Table, Moments: t.stats[n.ID].moments}
	if n.Op == graph.Linear {
		s.In = size(n.Params[0].Shape) / n.Units
	}
	s.Weights = func() (*mat.Dense, *mat.Dense, error) {
		var x, y mat.Dense
		for _, n := range group {
			a := t.anchor.Graph.Nodes[n.ID]
			hat, err := t.hat(n)
			if err != nil {
				return nil, nil, err
			}
			own := fetch(t.anchor.Params, a.Params[0])
			rx, ry := hat[0].rows(n.Params[0].Axes), own.rows(a.Params[0].Axes)
			if x.IsEmpty() {
				x, y = *rx, *ry
				continue
			}
			var sx, sy mat.Dense
			sx.Stack(&x, rx)
			sy.Stack(&y, ry)
			x, y = sx, sy
		}
		return &x, &y, nil
	}
	return s
}

// hat returns the parameters of n in the source with their In axes carried.
func (t *transport) hat(n *graph.Node) ([]tensor, error) {
	if t.hats[n.ID] != nil {
		return t.hats[n.ID], nil
	}
	var in ot.Plan
	if src := n.Source(); src != nil {
		in = t.plans[src.ID]
	}
	hats := make([]tensor, 0, len(n.Params))
	var pull *mat.Dense
	for _, p := range n.Params {
		w := fetch(t.src.Params, p)
		for k, axis := range p.Axes {
			if axis != graph.In || in.IsIdentity() {
				continue
			}
			if pull == nil {
				pull = in.Pull()
			}
			w = w.along(k, pull)
		}
		hats = append(hats, w)
	}
	t.hats[n.ID] = hats
	return hats, nil
}

// move writes the parameters of n in the basis of the anchor.
func (t *transport) move(n *graph.Node, group []*graph.Node) error {
	hats, err := t.hat(n)
	if err != nil {
		return err
	}
	plan, a := t.plans[n.ID], t.anchor.Graph.Nodes[n.ID]
	for i, p := range n.Params {
		w := hats[i]
		for k, axis := range p.Axes {
			if axis != graph.Out || plan.IsIdentity() {
				continue
			}
			if t.QK == Joint && len(group) > 1 {
				if w, err = t.stacked(n, group, i, k); err != nil {
					return err
				}
				continue
			}
			w = w.along(k, t.push(n))
		}
		store(t.out, a.Params[i], w, t.anchor.Params[p.Name].DType)
	}
	return nil
}

// stacked carries parameter i of all nodes of a joint site along axis k and
// returns what becomes of node n.
func (t *transport) stacked(n *graph.Node, group []*graph.Node, i, k int) (tensor, error) {
	s, at, units := t.push(n), 0, t.anchor.Graph.Nodes[n.ID].Units
	var sum tensor
	col := 0
	for j, m := range group {
		if m == n {
			col = j * units
		}
	}
	for _, m := range group {
		hats, err := t.hat(m)
		if err != nil {
			return tensor{}, err
		}
		part := hats[i].along(k, mat.DenseCopyOf(s.Slice(at, at+m.Units, col, col+units)))
		at += m.Units
		if sum.data == nil {
			sum = part
			continue
		}
		for x, v := range part.data {
			sum.data[x] += v
		}
	}
	return sum, nil
}

// push returns the push matrix of the map that leaves n; nodes that carry the
// same map share it.
func (t *transport) push(n *graph.Node) *mat.Dense {
	for n.Flow() == graph.Carry && t.pushes[n.ID] == nil {
		n = n.Carrier()
	}
	if t.pushes[n.ID] == nil {
		t.pushes[n.ID] = t.plans[n.ID].Push()
	}
	return t.pushes[n.ID]
}
