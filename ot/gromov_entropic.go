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
	Alpha   float64 // weight α of the distances, in (0, 1]; 0 means 1/2 with a cost and 1 without
	Reg     float64 // ε > 0 in units of the gradient, squared distances times mass; 0 means 0.05
	Tol     float64 // 0 means DefaultTol
	MaxIter int     // of plans, each with up to 1000 iterations of Sinkhorn; 0 means 1000

	// Start is the result of a similar problem: the iteration starts from its plan [n × m],
	// projected onto the masses, and from its potentials V [m]. Either may be missing, and
	// nil starts from a bᵀ. It decides which local optimum is found.
	Start *Result
}

// Solve returns a plan [n × m] and its objective without the entropy, as
// [GromovWasserstein.Solve] does.
func (s EntropicGromovWasserstein) Solve(ctx context.Context, q Quadratic) (Plan, float64, error) {
	w, e, err := s.solve(ctx, q)
	if e.kernel == nil {
		return Plan{}, 0, err
	}
	return e.plan, w.objective(), err
}

// SolveResult also returns potentials, both objectives, iterations and residual. In the
// formula of [Result.Duals] the gradient before the last iteration, without its terms of
// one side alone, takes the place of the cost: (1 − α) C − 2α (X P Yᵀ + Xᵀ P Y). Iterations
// count plans.
func (s EntropicGromovWasserstein) SolveResult(ctx context.Context, q Quadratic) (Result, error) {
	w, e, err := s.solve(ctx, q)
	if e.kernel == nil {
		return Result{}, err
	}
	r := e.result()
	floats.AddConst(w.least, r.Duals.U)
	entropy := r.Regularised - r.Objective
	r.Objective = w.objective()
	r.Regularised = r.Objective + entropy
	return r, err
}

// solve returns the last state and the last plan with its kernel.
func (s EntropicGromovWasserstein) solve(ctx context.Context, q Quadratic) (*gromovState, entropic, error) {
	c, err := control{cmp.Or(s.Reg, DefaultReg), s.Tol, cmp.Or(s.MaxIter, 1000)}.withDefaults()
	if err != nil {
		return nil, entropic{}, err
	}
	w, err := newGromovState(ctx, s.Alpha, q)
	if err != nil {
		return nil, entropic{}, err
	}
	v, err := w.startFromResult(ctx, s.Start)
	if err != nil {
		return nil, entropic{}, err
	}
	e, err := w.iterate(ctx, c, v)
	if err != nil {
		return nil, entropic{}, err
	}
	return w, e, e.failure(c.tol)
}

// startFromResult takes over the plan of r, if it has one, and returns its potentials for
// the columns, if it has any.
func (w *gromovState) startFromResult(ctx context.Context, r *Result) (v []float64, err error) {
	if r == nil {
		return nil, nil
	}
	if !r.Plan.IsIdentity() {
		if err := w.startFrom(ctx, r.Plan); err != nil {
			return nil, err
		}
	}
	if r.Duals.V == nil {
		return nil, nil
	}
	return w.problem.startPotentials(&r.Duals)
}

// iterate computes plan after plan until a plan equals its successor to c.tol. The first
// one starts from the column potentials start, which may be nil.
func (w *gromovState) iterate(ctx context.Context, c control, start []float64) (entropic, error) {
	const inside = 1000 // most iterations of Sinkhorn per plan, from the potentials of the last plan
	total, tol := floats.Sum(w.problem.a), c.tol/4
	grad := make([]float64, len(w.problem.cost))
	linear, err := w.linearise(grad)
	if err != nil {
		return entropic{}, err
	}
	k := newKernel(ctx, linear, total, floats.Sum(w.problem.b))
	if err := (control{c.reg, tol, inside}).run(k, start); err != nil {
		return entropic{}, err
	}
	for count := 1; ; count++ {
		mass, off, err := k.coupling(total)
		if err != nil {
			return entropic{}, err
		}
		residual := max(off, floats.Distance(mass, entriesOf(w.plan), 1)/total)
		w.plan, k.entries = mat.NewDense(w.problem.n, w.problem.m, mass), entriesOf(w.plan)
		if w.products, err = w.gradientProducts(ctx, w.plan); err != nil {
			return entropic{}, err
		}
		if residual <= c.tol || count == c.limit {
			k.entries, k.iterations = mass, count
			return entropic{in: w.problem, kernel: k, plan: w.problem.planOf(mass), unit: total, residual: residual}, nil
		}
		if k.problem, err = w.linearise(grad); err != nil {
			return entropic{}, err
		}
		if err := k.setReg(c.reg); err != nil {
			return entropic{}, err
		}
		if err := (&relaxation{tol: tol, limit: k.iterations + inside}).run(k); err != nil {
			return entropic{}, err
		}
	}
}
