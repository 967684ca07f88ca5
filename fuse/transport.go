package fuse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
	"gonum.org/v1/gonum/mat"
)

// QK says how the queries and keys of an attention layer are aligned.
type QK uint8

// The ways to align queries and keys.
const (
	Separate QK = iota // one plan for each
	Shared             // one plan found from both
	Joint              // one plan over the units of both, stacked
)

// String returns the lower-case name of the mode.
func (q QK) String() string {
	if q > Joint {
		return fmt.Sprintf("QK(%d)", uint8(q))
	}
	return [...]string{"separate", "shared", "joint"}[q]
}

// Transport is the method of Imfeld et al., "Transformer Fusion with Optimal
// Transport" (ICLR 2024): walking from input to output, it solves a transport
// problem between the units of both models at each layer, carries the plan
// through norms, activations and attention, joins plans at residual sums, and
// moves the weights of the source by them. Each source is carried by itself.
//
// The zero value is the recipe of the paper: [OnActivations] where
// Settings.Calibration is set, [OnWeights] otherwise, residuals averaged,
// queries and keys apart.
type Transport struct {
	Aligner  align.Aligner // finds the plan of a layer; nil means the paper's
	Residual graph.Policy  // joins the plans of a residual sum; nil means graph.Average
	QK       QK            // of queries and keys
}

// OnWeights is the aligner of the paper without data: rows of unit norm,
// Euclidean cost over its maximum, Sinkhorn with reg 0.06.
func OnWeights() align.Aligner {
	return align.Units{Features: align.Weights{Prep: []align.Prep{align.UnitNorm{}}},
		Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}, Solver: ot.Sinkhorn{Reg: 0.06}}
}

// OnActivations is the aligner of the paper with calibration data: standardised
// activations, Euclidean cost over its maximum, Sinkhorn with reg 0.08.
func OnActivations() align.Aligner {
	return align.Units{Features: align.Activations{Prep: []align.Prep{align.Standardize{}}},
		Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}, Solver: ot.Sinkhorn{Reg: 0.08}}
}

// Align implements [Method].
func (t Transport) Align(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (*Aligned, error) {
	return alignEach(ctx, t, anchor, others, s)
}

func (t Transport) withDefaults(c Calibration) (Transport, error) {
	if t.QK > Joint {
		return t, fmt.Errorf("Transport.QK is %d, want Separate, Shared or Joint", t.QK)
	}
	if t.Aligner == nil {
		if t.Aligner = OnWeights(); c != nil {
			t.Aligner = OnActivations()
		}
	}
	if t.Residual == nil {
		t.Residual = graph.Average{}
	}
	return t, nil
}

// transport is one run of a Transport.
type transport struct {
	Transport
	carriage
	settings   Settings
	ctx        context.Context
	plans      []ot.Plan         // by node: the map that leaves it
	spreads    []spread          // by node: of that map
	hats       [][]tensor        // by node: parameters with their In axes carried
	sites      map[int][]int     // node → IDs of the nodes its plan is solved with, itself included
	stats      map[int]siteStats // by first node of a site
	magnitudes map[int][]float64 // by node
	last       []int             // by node: the last one that looks at its plan
	nodes      []NodeReport
}

// spread says how a plan lies.
type spread struct{ diagonal, entropy float64 }

type siteStats struct{ moments *align.Moments }

// carryEach carries one source and reports on every node.
func (t Transport) carryEach(ctx context.Context, c carriage, s Settings) ([]NodeReport, error) {
	t, err := t.withDefaults(s.Calibration)
	if err != nil {
		return nil, err
	}
	n := len(c.source.Graph.Nodes)
	run := &transport{Transport: t, carriage: c, settings: s, ctx: ctx, plans: make([]ot.Plan, n),
		spreads: make([]spread, n), hats: make([][]tensor, n)}
	run.sites = pairs(c.source.Graph, t.QK)
	err = run.walk()
	return run.nodes, err
}

// walk visits the nodes from input to output.
func (t *transport) walk() error {
	t.last = t.lasting()
	if err := t.collect(); err != nil {
		return err
	}
	for _, n := range t.source.Graph.Nodes {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		if err := t.visit(n); err != nil {
			return fmt.Errorf("%s %s: %w", n.Op, n.Name, err)
		}
		for id, last := range t.last[:n.ID+1] {
			if last <= n.ID {
				t.plans[id] = ot.Plan{} // units² each
			}
		}
	}
	return nil
}

// lasting finds the last node that looks at the plan of each.
func (t *transport) lasting() []int {
	last := make([]int, len(t.source.Graph.Nodes))
	for _, n := range t.source.Graph.Nodes {
		done := n.ID // a node waits for the rest of its site
		for _, m := range t.group(n) {
			done = max(done, m.ID)
		}
		last[n.ID] = max(last[n.ID], done)
		for _, a := range n.Args {
			last[a.ID] = max(last[a.ID], done)
		}
		if n.Tie != nil {
			last[n.Tie.ID] = max(last[n.Tie.ID], done)
		}
	}
	return last
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
	r := NodeReport{Source: t.index, Name: n.Name, Flow: n.Flow(), Tied: n.Tie != nil}
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
		if err := t.write(m, group); err != nil {
			return err
		}
	}
	for i, m := range group {
		s := t.spread(m)
		r.Name, r.Diagonal, r.Entropy = m.Name, s.diagonal, s.entropy
		if !t.plans[m.ID].IsIdentity() {
			r.push = t.columns(m, i, len(group))
		}
		r.Duration = time.Since(started) / time.Duration(len(group))
		t.nodes = append(t.nodes, t.settings.kept(r))
		t.settings.observe("transporting", m.Name, len(t.nodes), len(t.plans))
	}
	for _, m := range group {
		t.hats[m.ID] = nil
	}
	return nil
}

// spread measures the map that leaves n, once for all nodes that carry it.
func (t *transport) spread(n *graph.Node) spread {
	if p := t.plans[n.ID]; n.Flow() == graph.Carry {
		t.spreads[n.ID] = t.spreads[n.Carrier().ID]
	} else if t.spreads[n.ID].diagonal = p.Diagonal(); !p.IsIdentity() {
		t.spreads[n.ID].entropy = p.Entropy()
	}
	return t.spreads[n.ID]
}

// group returns the nodes of the site of n in order.
func (t *transport) group(n *graph.Node) []*graph.Node {
	var out []*graph.Node
	for _, id := range t.sites[n.ID] {
		out = append(out, t.source.Graph.Nodes[id])
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
func (t *transport) solve(group []*graph.Node) (cost float64, warning *ot.NotConvergedError, err error) {
	var sites []align.Site
	if t.QK == Joint && len(group) > 1 {
		sites = []align.Site{t.site(group...)}
	} else {
		for _, n := range group {
			sites = append(sites, t.site(n))
		}
	}
	match, err := t.Aligner.Align(t.ctx, sites...)
	for _, n := range group {
		delete(t.stats, n.ID) // no other site looks at them
	}
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
	s := align.Site{Name: n.Name, Out: n.Units, Table: n.Op == graph.Table, Moments: t.stats[n.ID].moments,
		Heads: len(group) * heads(t.source.Graph, n.ID), AnchorHeads: len(group) * heads(t.anchor.Graph, n.ID)}
	if n.Op == graph.Linear {
		w, _ := n.Param(graph.RoleWeight)
		s.In = size(w.Shape) / n.Units
	}
	s.Weights = func() (*mat.Dense, *mat.Dense, error) {
		var x, y mat.Dense
		for _, n := range group {
			a := t.anchor.Graph.Nodes[n.ID]
			hat, err := t.hat(n)
			if err != nil {
				return nil, nil, err
			}
			at := slices.IndexFunc(n.Params, func(p graph.Param) bool { return p.Role == graph.RoleWeight || p.Role == graph.RoleRows })
			own, err := read(t.anchor, a.Params[at])
			if err != nil {
				return nil, nil, err
			}
			rx, ry := hat[at].rows(n.Params[at].Axes), own.rows(a.Params[at].Axes)
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

// heads returns the heads of the attention that reads a node, 0 if none does.
func heads(g *graph.Graph, id int) int {
	for _, n := range g.Nodes {
		if n.Op == graph.Attend && slices.Contains(n.Args[:3], g.Nodes[id]) {
			return n.Heads
		}
	}
	return 0
}

// hat returns the parameters of n in the source with their In axes carried.
func (t *transport) hat(n *graph.Node) ([]tensor, error) {
	if t.hats[n.ID] != nil {
		return t.hats[n.ID], nil
	}
	pull := inputs{}
	if src := n.Source(); src != nil && !t.plans[src.ID].IsIdentity() {
		m := puller(t.plans[src.ID])
		pull.by = &m
	}
	hats := make([]tensor, 0, len(n.Params))
	for _, p := range n.Params {
		w, err := read(t.source, p)
		if err != nil {
			return nil, err
		}
		hats = append(hats, carry(pull, n, p, w, -1))
	}
	t.hats[n.ID] = hats
	return hats, nil
}

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
func (t *transport) write(n *graph.Node, group []*graph.Node) error {
	parts := t.parts(n, group)
	for i, p := range t.anchor.Graph.Nodes[n.ID].Params {
		w, err := t.carried(parts, i)
		if err != nil {
			return err
		}
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

// parts returns what carries units to those of n: its own, or those of every
// node of a site whose units are stacked.
func (t *transport) parts(n *graph.Node, group []*graph.Node) []unitPart {
	plan, units := t.plans[n.ID], t.anchor.Graph.Nodes[n.ID].Units
	switch {
	case plan.IsIdentity():
		return []unitPart{{n, outputs{}}}
	case t.QK != Joint || len(group) == 1:
		m := pusher(plan)
		return []unitPart{{n, outputs{&m}}}
	}
	s, at, col := plan.Push(), 0, slices.Index(group, n)*units
	var out []unitPart
	for _, from := range group {
		m := byColumns(mat.DenseCopyOf(s.Slice(at, at+from.Units, col, col+units)))
		out = append(out, unitPart{from, outputs{&m}})
		at += from.Units
	}
	return out
}

// carried returns what becomes of parameter i of a site: the sum of what is
// carried from its nodes.
func (t *transport) carried(parts []unitPart, i int) (tensor, error) {
	var sum tensor
	for _, part := range parts {
		hats, err := t.hat(part.from)
		if err != nil {
			return tensor{}, err
		}
		w := carry(part.by, part.from, part.from.Params[i], hats[i], -1)
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
