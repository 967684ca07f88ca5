package ot

import (
	"cmp"
	"context"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Quadratic is a transport problem between two sides of which the distances within each
// side are known, and optionally a cost between the sides.
type Quadratic struct {
	X, Y mat.Matrix // distances or similarities within source [n × n] and target [m × m], finite
	Cost mat.Matrix // between the sides [n × m], finite and non-negative; nil for none
	A, B []float64  // masses [n] and [m], of equal total; nil is uniform with total 1
}

// GromovWasserstein finds a plan under which distances within the two sides agree as
// well as possible. With a cost between the sides it is the fused problem.
//
//	min (1 − α) ⟨P, C⟩ + α Σᵢⱼₖₗ (Xᵢₖ − Yⱼₗ)² Pᵢⱼ Pₖₗ   over P 1 = a,  Pᵀ 1 = b
//
// The problem is not convex: it returns the local optimum that conditional
// gradients with exact line search reach from a bᵀ, or from another plan, such
// as that of [EntropicGromovWasserstein]. Its residual is the gap of the
// linearised problem, relative to the objective at a bᵀ.
//
// Mémoli, "Gromov-Wasserstein distances and the metric approach to object
// matching" (2011); Vayer, Chapel, Flamary, Tavenard and Courty, "Optimal
// transport for structured data with application on graphs" (2019).
type GromovWasserstein struct {
	Alpha   float64 // weight α of the distances, in (0, 1]; 0 means 1/2 with a cost and 1 without
	Tol     float64 // 0 means DefaultTol
	MaxIter int     // of conditional gradients, each a transport problem; 0 means 1000
	Start   *Plan   // [n × m], projected onto the masses of the problem; nil means a bᵀ
}

// Solve returns a plan [n × m] and its objective, in units of the cost times
// the mass and of the squared distances times the squared mass. Invalid input gives an
// [*InvalidError], and the plan comes with a [*NotConvergedError] if MaxIter is not
// enough.
func (s GromovWasserstein) Solve(ctx context.Context, q Quadratic) (Plan, float64, error) {
	c, err := control{0, s.Tol, cmp.Or(s.MaxIter, 1000)}.withDefaults()
	if err != nil {
		return Plan{}, 0, err
	}
	w, err := newGromovState(ctx, s.Alpha, q)
	if err != nil {
		return Plan{}, 0, err
	}
	if s.Start != nil {
		if err := w.startFrom(ctx, *s.Start); err != nil {
			return Plan{}, 0, err
		}
	}
	count, residual, err := w.conditionalGradients(ctx, c)
	if err != nil {
		return Plan{}, 0, err
	}
	return w.result(count, residual, c.tol)
}

// conditionalGradients runs the iteration and returns its length and its last gap. The
// potentials of each linear problem start the next one.
func (w *gromovState) conditionalGradients(ctx context.Context, c control) (count int, gap float64, err error) {
	var v []float64 // potentials of the last plan
	grad, d := make([]float64, len(w.problem.cost)), make([]float64, len(w.problem.cost))
	for ; ; count++ {
		linear, err := w.linearise(grad)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, 0, err
		}
		best, err := exactly(ctx, linear, v)
		if err != nil {
			return 0, 0, err
		}
		mass := best.plan.dense()
		v = best.v
		floats.SubTo(d, mass, entriesOf(w.plan))
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		slope := floats.Dot(grad, d)
		if gap = -slope / w.initialObjective; !(slope < 0) || w.initialObjective <= 0 {
			gap = 0
		}
		if gap <= c.tol || count == c.limit {
			return count, gap, nil
		}
		if err := w.lineSearch(ctx, mass, d, slope); err != nil {
			return 0, 0, err
		}
	}
}

// lineSearch moves the plan in the direction d, at most to the plan mass, to the minimum
// of the objective, which is a parabola along d.
func (w *gromovState) lineSearch(ctx context.Context, mass, d []float64, slope float64) error {
	to := mat.NewDense(w.problem.n, w.problem.m, mass)
	s, err := w.gradientProducts(ctx, to)
	if err != nil {
		return err
	}
	curve := -w.alpha * (floats.Dot(entriesOf(s), d) - floats.Dot(entriesOf(w.products), d))
	t := 1.0
	if curve > 0 {
		t = min(1, -slope/(2*curve))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if t == 1 { // taken over without arithmetic, so that zeros stay zeros
		w.plan, w.products = to, s
		return nil
	}
	for _, x := range []struct{ own, other *mat.Dense }{{w.plan, to}, {w.products, s}} {
		floats.Scale(1-t, entriesOf(x.own))
		floats.AddScaled(entriesOf(x.own), t, entriesOf(x.other))
	}
	return nil
}
