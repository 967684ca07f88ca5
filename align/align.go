package align

import (
	"context"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

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
	Align(ctx context.Context, sites ...Site) (Match, error)
	Needs() Needs
}

// A Match is a plan and what it costs per unit of mass.
type Match struct {
	Plan ot.Plan
	Cost float64
}

// Units aligns units one by one, across the heads of an attention layer, as
// the paper does.
type Units struct {
	Features Features
	Metric   ot.Metric
	Solver   ot.Solver
}

// Needs implements [Aligner].
func (u Units) Needs() Needs { return u.Features.Needs() }

// Align implements [Aligner].
func (u Units) Align(ctx context.Context, sites ...Site) (Match, error) {
	cost, err := u.cost(sites...)
	if err != nil {
		return Match{}, err
	}
	p, err := u.Solver.Solve(ctx, ot.Problem{Cost: cost})
	if err != nil {
		err = fmt.Errorf("align: %s: %w", sites[0].Name, err)
	}
	if p.IsIdentity() {
		return Match{}, err
	}
	return Match{Plan: p, Cost: p.Cost(cost)}, err
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
	return cost, nil
}

// Widening aligns with Units where a layer is wider than its input, and with
// the Exact solver elsewhere and for tables.
type Widening struct {
	Units
	Exact ot.Solver
}

// Align implements [Aligner].
func (w Widening) Align(ctx context.Context, sites ...Site) (Match, error) {
	u := w.Units
	if s := sites[0]; s.Table || s.Out <= s.In {
		u.Solver = w.Exact
	}
	return u.Align(ctx, sites...)
}
