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
func (t Transport) Align(ctx context.Context, anchor *models.Model, others []*models.Model,
	s Settings) (*Aligned, error) {
	anchor, err := anchor.Load()
	if err != nil {
		return nil, err
	}
	out := &Aligned{Anchor: anchor}
	for range others {
		out.Others = append(out.Others, models.Params{})
	}
	out.Nodes, err = t.carryAll(ctx, anchor, others, s, func(source int, p graph.Param, w tensor) error {
		storePart(out.Others[source], p, w, anchor.Params[p.Name].DType)
		return nil
	})
	return out, err
}

// stream implements [streamer].
func (t Transport) stream(anchor *models.Model, others []*models.Model, s Settings) *stream {
	return &stream{anchor, func(ctx context.Context, put putter) ([]NodeReport, error) {
		sum := newSum(anchor, s.Weights, put)
		return t.carryAll(ctx, anchor, others, s, sum.add)
	}}
}

// carryAll carries every source by itself, all of them side by side, so that tensor after
// tensor of the anchor's is complete. It gives put what becomes of each parameter.
func (t Transport) carryAll(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings,
	put func(source int, p graph.Param, w tensor) error) ([]NodeReport, error) {
	t, err := t.withDefaults(s.Calibration)
	if err != nil {
		return nil, err
	}
	s.MomentBytes = momentBytes(s) / int64(len(others))
	runs := make([]*transportRun, len(others))
	for i, source := range others {
		run := t.newRun(ctx, source, anchor, s)
		run.index, run.put = i, func(p graph.Param, w tensor) error { return put(i, p, w) }
		if err := run.prepare(); err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		runs[i] = run
	}
	for at := range anchor.Graph.Nodes {
		for i, run := range runs {
			if err := run.visit(at); err != nil {
				return nil, fmt.Errorf("model %d: %w", i+1, err)
			}
		}
	}
	var nodes []NodeReport
	for _, run := range runs {
		slices.SortFunc(run.nodes, func(a, b NodeReport) int { return a.id - b.id })
		nodes = append(nodes, run.nodes...)
	}
	return nodes, nil
}

// newRun readies a source to be carried.
func (t Transport) newRun(ctx context.Context, source, anchor *models.Model, s Settings) *transportRun {
	n := len(source.Graph.Nodes)
	return &transportRun{method: t, settings: s, source: source, anchor: anchor, ctx: ctx,
		plans: make([]ot.Plan, n), summaries: make([]planSummary, n), pulled: make([][]tensor, n),
		weights: make([]squares, n), sites: pairedSites(source.Graph, t.QK)}
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

// transportRun is one source on its way onto the anchor.
type transportRun struct {
	method         Transport
	settings       Settings
	index          int // of the source among the others
	source, anchor *models.Model
	put            func(graph.Param, tensor) error // takes the carried parameters of the anchor
	ctx            context.Context
	order          []*graph.Node          // in which nodes are visited
	plans          []ot.Plan              // by node: the map that leaves it
	summaries      []planSummary          // by node: of that map
	pulled         [][]tensor             // by node: its parameters with their In axes carried
	weights        []squares              // by node: of its parameters
	sites          map[int][]int          // by node: IDs of the nodes that its plan is solved with, itself included
	collector      *collector             // of moments that were not needed yet; nil where none are
	moments        map[int]*align.Moments // by the first node of a site
	magnitudes     map[int][]float64      // by node: mean |activation| of each unit of the anchor
	lastUse        []int                  // by node: the place in the order of the last node that looks at its plan
	nodes          []NodeReport
}

// A planSummary says how the mass of a plan is spread.
type planSummary struct{ diagonal, entropy float64 }

// prepare finds out what the visits need.
func (t *transportRun) prepare() error {
	t.order = t.visitOrder()
	t.lastUse = t.lastUses()
	return t.collect()
}

// visit visits the node at a place in the order, which goes from input to output.
func (t *transportRun) visit(at int) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	n := t.order[at]
	if err := t.visitNode(n); err != nil {
		return fmt.Errorf("%s %s: %w", n.Op, n.Name, err)
	}
	for id, last := range t.lastUse {
		if last <= at {
			t.plans[id] = ot.Plan{} // units² values each: release them
		}
	}
	return nil
}

// visitNode finds the map that leaves n and moves its parameters. There is one case
// for each flow.
func (t *transportRun) visitNode(n *graph.Node) error {
	started := time.Now()
	r := NodeReport{Source: t.index, Name: n.Name, Flow: n.Flow(), Tied: n.Tie != nil}
	site := []*graph.Node{n}
	var err error
	switch {
	case n.Tie != nil:
		t.plans[n.ID] = t.plans[n.Tie.ID]
	case n.Flow() == graph.Carry:
		t.plans[n.ID], err = t.carriedPlan(n)
	case n.Flow() == graph.Join:
		t.plans[n.ID], err = t.joinPlans(n)
	case n.Flow() == graph.Solve:
		site = t.siteOf(n)
		if site[len(site)-1] != n {
			return nil // waits for the rest of its site
		}
		r.Cost, r.Warning, err = t.solve(site)
	}
	if err != nil {
		return err
	}
	if units := t.anchorNode(n).Units; t.plans[n.ID].IsIdentity() && n.Op != graph.Const && n.Units != units {
		return &MismatchError{"width of " + n.Name + ", which has no plan,", fmt.Sprint(n.Units), fmt.Sprint(units)}
	}
	for _, m := range site {
		if err := t.write(m, site); err != nil {
			return err
		}
	}
	r.Seconds = time.Since(started).Seconds() / float64(len(site))
	t.report(r, site)
	for _, m := range site {
		t.pulled[m.ID] = nil
	}
	return nil
}

// anchorNode returns the node of the anchor that corresponds to n.
func (t *transportRun) anchorNode(n *graph.Node) *graph.Node { return t.anchor.Graph.Nodes[n.ID] }

// carriedPlan returns the map of the argument that n carries on.
func (t *transportRun) carriedPlan(n *graph.Node) (ot.Plan, error) {
	plan := t.plans[n.Carrier().ID]
	if plan.IsIdentity() || n.Op != graph.Attend || n.Shared() == 1 {
		return plan, nil
	}
	return t.spreadPlan(n, plan)
}

// joinPlans merges the maps that meet at a residual sum.
func (t *transportRun) joinPlans(n *graph.Node) (ot.Plan, error) {
	branches := make([]graph.Branch, len(n.Args))
	for k, a := range n.Args {
		branches[k] = graph.Branch{Plan: t.plans[a.ID], Magnitudes: t.magnitudes[magnitudeNode(a).ID]}
	}
	p, err := t.method.Residual.Merge(branches)
	if err != nil {
		return p, err
	}
	if p.IsIdentity() && n.Units != t.anchorNode(n).Units {
		return graph.Identity{}.Merge(branches) // the skip is a Const, which has no plan of its own
	}
	return p, t.checkPlanSize(p, fmt.Sprintf("Residual %T", t.method.Residual), []*graph.Node{n})
}

// solve finds the plan of a site and gives it to all its nodes.
func (t *transportRun) solve(site []*graph.Node) (cost float64, warning *ot.NotConvergedError, err error) {
	if err := t.collectFor(site); err != nil {
		return 0, nil, err
	}
	stacked := [][]*graph.Node{}
	if t.isStacked(site) {
		stacked = append(stacked, site)
	} else {
		for _, n := range site {
			stacked = append(stacked, []*graph.Node{n})
		}
	}
	var sites []align.Site
	for _, nodes := range stacked {
		sites = append(sites, t.describe(nodes))
	}
	result, err := t.method.Aligner.Align(t.ctx, sites...)
	for _, n := range site {
		delete(t.moments, n.ID) // no other site looks at them
	}
	if err != nil && (!errors.As(err, &warning) || result.Plan.IsIdentity()) {
		return 0, nil, err
	}
	if err := t.checkPlanSize(result.Plan, fmt.Sprintf("Aligner %T", t.method.Aligner), stacked[0]); err != nil {
		return 0, nil, err
	}
	for _, n := range site {
		t.plans[n.ID] = result.Plan
	}
	return result.Cost, warning, nil
}

// checkPlanSize reports a plan that a strategy returned for the stacked units of nodes
// and that is of another size.
func (t *transportRun) checkPlanSize(p ot.Plan, strategy string, nodes []*graph.Node) error {
	if p.IsIdentity() {
		return nil
	}
	var n, m int
	for _, x := range nodes {
		n, m = n+x.Units, m+t.anchorNode(x).Units
	}
	if r, c := p.Dims(); r != n || c != m {
		return fmt.Errorf("%s returned a plan of %d × %d for %d × %d units", strategy, r, c, n, m)
	}
	return nil
}

// pulledParams returns the parameters of n in the source with their In axes carried:
// what the layer of the source is once it reads the units of the anchor.
func (t *transportRun) pulledParams(n *graph.Node) ([]tensor, error) {
	if t.pulled[n.ID] != nil {
		return t.pulled[n.ID], nil
	}
	by := inputs{}
	if from := n.Source(); from != nil && !t.plans[from.ID].IsIdentity() {
		m, err := t.mover(pullMover, t.plans[from.ID])
		if err != nil {
			return nil, err
		}
		by.by = &m
	}
	out := make([]tensor, 0, len(n.Params))
	for _, p := range n.Params {
		w, err := readPart(t.source, p)
		if err != nil {
			return nil, err
		}
		t.weights[n.ID].own += sumOfSquares(w.data)
		if w, err = t.carry(by, n, p, w); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	t.pulled[n.ID] = out
	return out, nil
}
