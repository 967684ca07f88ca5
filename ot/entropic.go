package ot

import (
	"cmp"
	"context"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// EntropicGromovWasserstein is [GromovWasserstein] with entropic
// regularisation.
//
//	min (1 − α) ⟨P, C⟩ + α Σᵢⱼₖₗ (Xᵢₖ − Yⱼₗ)² Pᵢⱼ Pₖₗ + ε Σ P (log P − 1)   over P 1 = a,  Pᵀ 1 = b
//
// It iterates P ← the plan of [Sinkhorn] at the gradient of the first two terms
// at P, from a bᵀ. Its residual is the L1 change of the plan in the last
// iteration, or the marginal error if that is larger, relative to the mass.
//
// Peyré, Cuturi and Solomon, "Gromov-Wasserstein averaging of kernel and
// distance matrices" (2016).
type EntropicGromovWasserstein struct {
	Alpha   float64 // weight α of the inner structure, in (0, 1]; 0 means 1/2 with a cost and 1 without
	Reg     float64 // ε > 0 in units of the gradient, squared distances times mass; 0 means DefaultReg
	Tol     float64 // 0 means DefaultTol
	MaxIter int     // plans, each of up to 1000 iterations of Sinkhorn; 0 means 1000
}

// Solve returns a plan [n × m] and its objective without the entropy, as
// [GromovWasserstein.Solve] does.
func (s EntropicGromovWasserstein) Solve(ctx context.Context, q Quadratic) (Plan, float64, error) {
	c, err := control{s.Reg, s.Tol, cmp.Or(s.MaxIter, 1000)}.filled()
	if err != nil {
		return Plan{}, 0, err
	}
	w, err := newInner(ctx, s.Alpha, q)
	if err != nil {
		return Plan{}, 0, err
	}
	count, residual, err := w.settle(ctx, c)
	if err != nil {
		return Plan{}, 0, err
	}
	return w.result(count, residual, c.tol)
}

// settle iterates until the plan is its own successor.
func (w *inner) settle(ctx context.Context, c control) (count int, residual float64, err error) {
	const inside = 1000 // iterations of Sinkhorn, each time from the last potentials
	total, tol := floats.Sum(w.in.a), c.tol/4
	grad := make([]float64, len(w.in.cost))
	linear, err := w.linear(grad)
	if err != nil {
		return 0, 0, err
	}
	k := newKernel(ctx, linear, total, floats.Sum(w.in.b))
	if err := (control{c.reg, tol, inside}).anneal(k); err != nil {
		return 0, 0, err
	}
	for count = 1; ; count++ {
		mass, off, err := k.coupling(total)
		if err != nil {
			return 0, 0, err
		}
		residual = max(off, floats.Distance(mass, flat(w.p), 1)/total)
		w.p, k.k = mat.NewDense(w.in.n, w.in.m, mass), flat(w.p)
		if w.s, err = w.products(ctx, w.p); err != nil {
			return 0, 0, err
		}
		if residual <= c.tol || count == c.limit {
			return count, residual, nil
		}
		if k.in, err = w.linear(grad); err != nil {
			return 0, 0, err
		}
		if err := k.set(c.reg); err != nil {
			return 0, 0, err
		}
		if err := (&relaxation{tol: tol, limit: k.count + inside}).run(k); err != nil {
			return 0, 0, err
		}
	}
}
