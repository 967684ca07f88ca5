package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Barycenter averages masses on a fixed support in the sense of entropic transport.
//
//	min over p of  Σₖ wₖ OTε(p, bₖ)
//	OTε(p, b) = min ⟨P, C⟩ + ε Σ P (log P − 1)   over P 1 = p,  Pᵀ 1 = b
//
// It iterates Bregman projections in the log domain: the plans are projected in turn onto
// the masses bₖ and onto the geometric mean of their other marginals.
//
// Benamou, Carlier, Cuturi, Nenna and Peyré, "Iterative Bregman projections for
// regularized transportation problems" (2015).
type Barycenter struct {
	Reg     float64 // ε > 0 in units of the cost; 0 means DefaultReg of the largest cost
	Tol     float64 // mean L1 difference of p and the plans' marginals; 0 means DefaultTol
	MaxIter int     // never exceeded; 0 means DefaultMaxIter

	// Start warm-starts the solver with the dual potentials U [n] of a similar problem, for
	// each of the masses; those of weight 0 are not read. Nil starts from zero. It changes
	// how many iterations a solution takes, and the masses within Tol.
	Start []Duals
}

// BarycenterResult is the whole answer of a [Barycenter].
type BarycenterResult struct {
	Masses []float64 // the barycenter p [n], with total 1

	// Duals are the potentials of the plans Pₖ from p to every one of the masses, as in
	// [Result]. They are nil for masses of weight 0.
	Duals []Duals

	Reg         float64 // ε that was used, in units of the cost
	Objective   float64 // Σₖ wₖ ⟨Pₖ, C⟩
	Regularised float64 // Σₖ wₖ (⟨Pₖ, C⟩ + ε Σ Pₖ (log Pₖ − 1))
	Iterations  int     // at most MaxIter
	Residual    float64 // Σₖ wₖ ‖Pₖ 1 − p‖₁ before the last update of the rows
}

// barycenterState is the state of the iteration. Masses without weight are left out.
type barycenterState struct {
	kernels    []*kernel // one for each of the masses
	weights    []float64 // relative, with sum 1
	indices    []int     // of the masses among all
	masses     []float64 // the barycenter, before its total is made 1
	iterations int
	residual   float64
}

// Solve returns the barycenter p [n], with total 1, of masses [m] each, for a cost
// [n × m] from the support of p to that of the masses.
//
// Weights [len(all)] are taken relative to their sum; nil is uniform. Masses are taken
// relative to their totals. Invalid input gives an [*InvalidError], and p comes with a
// [*NotConvergedError] if MaxIter is not enough: its residual is Σₖ wₖ ‖Pₖ 1 − p‖₁.
func (s Barycenter) Solve(
	ctx context.Context, cost mat.Matrix, all [][]float64, weights []float64,
) ([]float64, error) {
	b, err := s.solve(ctx, cost, all, weights)
	if b == nil {
		return nil, err
	}
	return b.masses, err
}

// SolveResult returns what Solve does, and the potentials, objectives, iterations and
// residual.
func (s Barycenter) SolveResult(
	ctx context.Context, cost mat.Matrix, all [][]float64, weights []float64,
) (BarycenterResult, error) {
	b, err := s.solve(ctx, cost, all, weights)
	if b == nil {
		return BarycenterResult{}, err
	}
	r := BarycenterResult{
		Masses: b.masses, Duals: make([]Duals, len(all)), Reg: b.kernels[0].reg,
		Iterations: b.iterations, Residual: b.residual,
	}
	for l, k := range b.kernels {
		if err := k.build(); err != nil {
			return BarycenterResult{}, err
		}
		mass, _, err := k.coupling(1)
		if err != nil {
			return BarycenterResult{}, err
		}
		one := entropic{in: k.problem, kernel: k, plan: k.problem.planOf(mass), unit: 1}.result()
		r.Duals[b.indices[l]] = one.Duals
		r.Objective += b.weights[l] * one.Objective
		r.Regularised += b.weights[l] * one.Regularised
	}
	return r, err
}

// solve returns the last state, with masses of total 1.
func (s Barycenter) solve(
	ctx context.Context, cost mat.Matrix, all [][]float64, weights []float64,
) (*barycenterState, error) {
	c, err := control{s.Reg, s.Tol, s.MaxIter}.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, invalid("masses", ErrShape, "none")
	}
	w, total, err := checkMasses("weights", weights, len(all))
	if err != nil {
		return nil, err
	}
	var top float64
	var problems []*instance
	b := &barycenterState{}
	for i, masses := range all {
		if w[i] == 0 {
			continue
		}
		in, err := readProblem(ctx, Problem{Cost: cost, B: masses})
		if err != nil {
			return nil, err
		}
		problems, top = append(problems, in), max(top, in.maxCost)
		b.weights, b.indices = append(b.weights, w[i]/total), append(b.indices, i)
	}
	c = c.withDefaultReg(top)
	if err := c.checkReg(top); err != nil {
		return nil, err
	}
	for _, in := range problems {
		k := newKernel(ctx, in, 1, in.totalB)
		k.reg = c.reg
		b.kernels = append(b.kernels, k)
	}
	if err := b.startFrom(s.Start, len(all)); err != nil {
		return nil, err
	}
	if err := b.iterate(c); err != nil {
		return nil, err
	}
	if err := b.normalise(); err != nil {
		return nil, err
	}
	if !(b.residual <= c.tol) {
		return b, &NotConvergedError{Iterations: b.iterations, Residual: b.residual}
	}
	return b, nil
}

// startFrom takes over the potentials of the rows for count masses, unless they are so
// large that they would hide the costs behind their rounding.
func (b *barycenterState) startFrom(start []Duals, count int) error {
	if start == nil {
		return nil
	}
	if len(start) != count {
		return invalid("Start", ErrShape, "%d potentials for %d masses", len(start), count)
	}
	for l, k := range b.kernels {
		u := start[b.indices[l]].U
		if len(u) != k.n {
			return invalid("Start", ErrShape, "%d potentials for %d units", len(u), k.n)
		}
		for i, v := range u {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return badEntry("Start", b.indices[l], i, v, ErrNotFinite)
			}
		}
		if floats.Norm(u, math.Inf(1)) <= 2*(k.problem.maxCost+1500*k.reg) {
			copy(k.f, u)
		}
	}
	return nil
}

// iterate projects the plans onto the masses and onto the mean of their other marginals
// until both agree.
func (b *barycenterState) iterate(c control) error {
	n := b.kernels[0].n
	sums := make([][]float64, len(b.kernels)) // log Σⱼ exp((gⱼ − Cᵢⱼ)/ε) of every kernel
	for l := range sums {
		sums[l] = make([]float64, n)
	}
	mean := make([]float64, n) // of those logarithms: that of the barycenter
	b.masses = make([]float64, n)
	for b.iterations = 1; ; b.iterations++ {
		setAll(mean, 0)
		for l, k := range b.kernels {
			if err := k.updateLogColumns(); err != nil {
				return err
			}
			err := k.eachLogSum(func(i int, sum, top float64) { sums[l][i] = sum + top/k.reg })
			if err != nil {
				return err
			}
			for i, s := range sums[l] {
				mean[i] += b.weights[l] * s
			}
		}
		b.residual = 0
		for i := range b.masses {
			b.masses[i] = math.Exp(mean[i])
			for l, k := range b.kernels {
				b.residual += b.weights[l] * math.Abs(math.Exp(k.f[i]/k.reg+sums[l][i])-b.masses[i])
				k.f[i] = k.reg * (mean[i] - sums[l][i])
			}
		}
		if b.residual <= c.tol || b.iterations == c.limit {
			return nil
		}
	}
}

// normalise divides the barycenter by its total, and the plans with it.
func (b *barycenterState) normalise() error {
	var total float64
	for _, v := range b.masses {
		total += v
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return invalid("Reg", ErrEmpty, "the barycenter has mass %g", total)
	}
	for i := range b.masses {
		b.masses[i] /= total
	}
	for _, k := range b.kernels {
		floats.AddConst(-k.reg*math.Log(total), k.f)
	}
	return nil
}
