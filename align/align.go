package align

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/ot"
)

// A Site is a place where a plan is wanted: a node of the graph, or several
// whose units are stacked.
type Site struct {
	Name    string
	In, Out int  // inputs and units of the source's layer; In is 0 for a table
	Table   bool // learned rows, which stand for activations themselves
	// Heads that the units are divided into, one after the other, in source and
	// anchor; 0 where the layer feeds no attention.
	Heads, AnchorHeads int
	// Planes that rotary positions turn in each head: units i and i + Planes make a
	// plane, for i below Planes. These units keep their place in their head.
	Planes int

	// Weights returns what the units are made of in both models, one row a unit
	// [n × in], [m × in], inputs in the anchor's basis.
	Weights func() (x, y *mat.Dense, err error)
	// Moments of the activations; nil without a calibration.
	Moments *Moments
}

// Needs says what a site must hold for an [Aligner].
type Needs struct {
	Moments bool // of activations
	Self    bool // with Moments.Self
}

// Features describe the units of a site in both models.
type Features interface {
	// Gram returns inner products of the units. The samples of several sites
	// are put side by side: all must have the same units.
	Gram(sites ...Site) (ot.Gram, error)
	Needs() Needs
}

// Weights describe a unit by its incoming weights.
type Weights struct{ Prep []Prep }

// Activations describe a unit by what it computes on the calibration samples,
// the units of a table by its stored rows as they are.
type Activations struct{ Prep []Prep }

// Needs implements [Features].
func (Weights) Needs() Needs { return Needs{} }

// Needs implements [Features].
func (a Activations) Needs() Needs {
	return Needs{Moments: true, Self: hasPCA(a.Prep)}
}

// hasPCA reports whether a step looks at the moments of the anchor with itself.
func hasPCA(prep []Prep) bool {
	return slices.ContainsFunc(prep, func(p Prep) bool { _, ok := p.(PCA); return ok })
}

// Gram implements [Features]. Weights of several sites are stacked along their
// inputs, then prepared once.
func (w Weights) Gram(sites ...Site) (ot.Gram, error) {
	all := &Moments{}
	for _, s := range sites {
		m, err := fromWeights(s, w.Prep)
		if err == nil {
			all, err = all.Add(m)
		}
		if err != nil {
			return ot.Gram{}, err
		}
	}
	return prepared(all, w.Prep)
}

// Gram implements [Features]. Activations of several sites are prepared each
// by itself, then stacked along the samples: inner products add.
func (a Activations) Gram(sites ...Site) (ot.Gram, error) {
	var sum ot.Gram
	for k, s := range sites {
		m, prep := s.Moments, a.Prep
		if s.Table {
			var err error
			prep = nil
			if m, err = fromWeights(s, prep); err != nil {
				return ot.Gram{}, err
			}
		}
		if m == nil {
			return ot.Gram{}, fmt.Errorf("align: %s: no activations were collected", s.Name)
		}
		g, err := prepared(m, prep)
		if err != nil {
			return ot.Gram{}, err
		}
		if k == 0 {
			sum = g
			continue
		}
		if len(g.XX) != len(sum.XX) || len(g.YY) != len(sum.YY) {
			return ot.Gram{}, fmt.Errorf("align: %s: the sites have different units", s.Name)
		}
		var xy mat.Dense
		xy.Add(sum.XY, g.XY)
		sum = ot.Gram{XX: added(sum.XX, g.XX), YY: added(sum.YY, g.YY), XY: &xy}
	}
	return sum, nil
}

func added(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

// fromWeights returns the moments that prep needs of the rows of a site.
func fromWeights(s Site, prep []Prep) (*Moments, error) {
	x, y, err := s.Weights()
	if err != nil {
		return nil, err
	}
	if hasPCA(prep) {
		return FromRows(x, y)
	}
	return crossed(x, y)
}

func prepared(m *Moments, prep []Prep) (ot.Gram, error) {
	f := newFeatures(m)
	for _, p := range prep {
		if err := p.apply(f); err != nil {
			return ot.Gram{}, err
		}
	}
	return f.gram(), nil
}

// An Aligner finds the plan that carries the source's units of the sites onto
// the anchor's. Several sites share one plan. An [*ot.NotConvergedError] error comes
// with the plan that was reached.
type Aligner interface {
	Align(ctx context.Context, sites ...Site) (Result, error)
	Needs() Needs
}

// A Result is a plan and what it costs per unit of mass.
type Result struct {
	Plan ot.Plan
	Cost float64
}

// Units aligns units one by one, across the heads of an attention layer, as
// the paper does. The zero value is the recipe of the paper on activations.
type Units struct {
	Features Features  // nil means standardised activations
	Metric   ot.Metric // nil means the Euclidean distance over its maximum
	Solver   ot.Solver // nil means Sinkhorn, with Reg 0.08 on activations and 0.06 on weights
}

// withDefaults fills in the fields that are nil.
func (u Units) withDefaults() Units {
	if u.Features == nil {
		u.Features = Activations{Prep: []Prep{Standardize{}}}
	}
	if u.Metric == nil {
		u.Metric = ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}
	}
	if u.Solver == nil {
		reg := 0.06
		if u.Features.Needs().Moments {
			reg = 0.08
		}
		u.Solver = ot.Sinkhorn{Reg: reg}
	}
	return u
}

// Needs implements [Aligner].
func (u Units) Needs() Needs { return u.withDefaults().Features.Needs() }

// Align implements [Aligner].
func (u Units) Align(ctx context.Context, sites ...Site) (Result, error) {
	if len(sites) == 0 {
		return Result{}, errNoSite
	}
	u = u.withDefaults()
	cost, err := u.costUnlessEnded(ctx, sites...)
	if err != nil {
		return Result{}, err
	}
	solver := u.Solver
	if s := sites[0]; s.Planes > 0 {
		solver = planeSolver{u.Solver, s}
	}
	p, err := solver.Solve(ctx, ot.Problem{Cost: cost})
	if err := planFits(p, cost, u.Solver, err); err != nil {
		return Result{}, fmt.Errorf("align: %s: %w", sites[0].Name, err)
	}
	if err != nil {
		err = fmt.Errorf("align: %s: %w", sites[0].Name, err)
	}
	return Result{Plan: p, Cost: p.Cost(cost)}, err
}

// planFits reports a plan of a solver that is none for a cost [n × m]. What the
// solver reported itself comes first.
func planFits(p ot.Plan, cost mat.Matrix, solver ot.Solver, reported error) error {
	if p.IsIdentity() {
		if reported != nil {
			return reported
		}
		return fmt.Errorf("Solver %T returned no plan and no error", solver)
	}
	n, m := cost.Dims()
	if r, c := p.Dims(); r != n || c != m {
		return fmt.Errorf("Solver %T returned a plan of %d × %d for a cost of %d × %d", solver, r, c, n, m)
	}
	return nil
}

// costUnlessEnded is cost, unless the context ends.
func (u Units) costUnlessEnded(ctx context.Context, sites ...Site) (*mat.Dense, error) {
	return interruptible.Value(ctx, func() (*mat.Dense, error) { return u.cost(sites...) })
}

// cost returns the cost of carrying each unit onto each [n × m].
func (u Units) cost(sites ...Site) (*mat.Dense, error) {
	g, err := u.Features.Gram(sites...)
	if err != nil {
		return nil, err
	}
	cost, err := u.Metric.Cost(g)
	if err != nil {
		return nil, fmt.Errorf("align: %s: %w", sites[0].Name, err)
	}
	if cost == nil {
		return nil, fmt.Errorf("align: %s: Metric %T returned no cost", sites[0].Name, u.Metric)
	}
	if n, m := cost.Dims(); n != len(g.XX) || m != len(g.YY) {
		return nil, fmt.Errorf("align: %s: Metric %T returned a cost of %d × %d for %d × %d units",
			sites[0].Name, u.Metric, n, m, len(g.XX), len(g.YY))
	}
	return cost, nil
}

// errNoSite reports an aligner that is asked to align nothing.
var errNoSite = errors.New("align: there is no site to align")

// Widening aligns with Units where a layer is wider than its input, and with
// the Exact solver elsewhere and for tables.
type Widening struct {
	Units
	Exact ot.Solver // nil means ot.EMD
}

// Align implements [Aligner].
func (w Widening) Align(ctx context.Context, sites ...Site) (Result, error) {
	u := w.Units
	if len(sites) == 0 {
		return Result{}, errNoSite
	}
	if s := sites[0]; s.Table || s.Out <= s.In {
		if u.Solver = w.Exact; u.Solver == nil {
			u.Solver = ot.EMD{}
		}
	}
	return u.Align(ctx, sites...)
}
