package ot

import (
	"context"
	"errors"
	"math"

	"gonum.org/v1/gonum/floats"
)

// Divergence returns the Sinkhorn divergence between the masses of the two sides of q,
// with the costs q.Cost between the sides and q.X, q.Y within them.
//
//	S(a, b) = OTε(a, b; Cost) − ½ OTε(a, a; X) − ½ OTε(b, b; Y)
//	OTε(a, b; C) = min ⟨P, C⟩ + ε Σ P (log P − 1)   over P 1 = a,  Pᵀ 1 = b
//
// Unlike OTε it is zero between equal sides, and for costs such as distances and their
// squares it is never negative. It is in units of the cost times the mass. All three
// problems have the same ε; its default follows the largest of their costs. A missing
// Cost, costs that are negative, X or Y that are not symmetric and shapes that do not fit
// give an [*InvalidError]. The value comes with a [*NotConvergedError] where one of the
// problems did not converge.
//
// The problems within the sides are solved by averaged updates of one potential,
// f ← (f + T(f))/2, which converge in a few iterations where alternating ones stall.
//
// Genevay, Peyré and Cuturi, "Learning generative models with Sinkhorn divergences"
// (2018); Feydy, Séjourné, Vialard, Amari, Trouvé and Peyré, "Interpolating between
// optimal transport and MMD using Sinkhorn divergences" (2019).
func (s Sinkhorn) Divergence(ctx context.Context, q Quadratic) (float64, error) {
	c, err := control{s.Reg, s.Tol, s.MaxIter}.withDefaults()
	if err != nil {
		return 0, err
	}
	x, err := side(ctx, "X", Problem{q.X, q.A, q.A})
	if err != nil {
		return 0, err
	}
	y, err := side(ctx, "Y", Problem{q.Y, q.B, q.B})
	if err != nil {
		return 0, err
	}
	across := Problem{q.Cost, q.A, q.B}
	in, err := readBalanced(ctx, across)
	if err != nil {
		return 0, err
	}
	c = c.withDefaultReg(max(in.maxCost, x.maxCost, y.maxCost))
	s.Reg = c.reg
	r, err := s.SolveResult(ctx, across)
	value := r.Regularised
	var late *NotConvergedError
	if err != nil && !errors.As(err, &late) {
		return 0, err
	}
	for _, in := range []*instance{x, y} {
		r, err := c.symmetric(ctx, in)
		if err != nil && !errors.As(err, &late) {
			return 0, err
		}
		value -= r.Regularised / 2
	}
	if late != nil {
		return value, late
	}
	return value, nil
}

// side reads the problem of one side with itself.
func side(ctx context.Context, field string, p Problem) (*instance, error) {
	in, err := readBalanced(ctx, p)
	var e *InvalidError
	if errors.As(err, &e) && e.Field == "Cost" {
		renamed := *e
		renamed.Field = field
		return nil, &renamed
	}
	if err != nil {
		return nil, err
	}
	if n, m := len(in.fullA), len(in.fullB); n != m {
		return nil, invalid(field, ErrShape, "%d × %d", n, m)
	}
	for i := range in.n {
		for j := range i {
			if v := in.cost[i*in.n+j]; math.Abs(v-in.cost[j*in.n+i]) > 1e-9*in.maxCost {
				return nil, invalid(field, ErrShape, "not symmetric at %d, %d", in.originalRow(i), in.originalColumn(j))
			}
		}
	}
	return in, nil
}

// symmetric solves the problem of one side with itself, whose two potentials are equal.
func (c control) symmetric(ctx context.Context, in *instance) (Result, error) {
	if err := c.checkReg(in.maxCost); err != nil {
		return Result{}, err
	}
	total := floats.Sum(in.a)
	k := newKernel(ctx, in, total, total)
	k.reg = c.reg
	for i, a := range k.a { // the solution as ε → 0, for costs that are zero on the diagonal
		k.f[i] = k.reg * math.Log(a) / 2
	}
	for ; ; k.iterations++ {
		copy(k.g, k.f)
		if err := k.updateLogRows(); err != nil {
			return Result{}, err
		}
		k.residual = floats.Sum(k.rowErrors)
		if k.residual <= c.tol || k.iterations == c.limit {
			break
		}
		floats.Add(k.f, k.g)
		floats.Scale(0.5, k.f)
	}
	copy(k.f, k.g) // the potentials that the residual belongs to
	if err := k.build(); err != nil {
		return Result{}, err
	}
	mass, _, err := k.coupling(total)
	if err != nil {
		return Result{}, err
	}
	e := entropic{in: in, kernel: k, plan: in.planOf(mass), unit: total, residual: k.residual}
	return e.result(), e.failure(c.tol)
}
