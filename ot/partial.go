package ot

import (
	"cmp"
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
)

// Partial moves only a share of the mass, the one that is cheapest to move, exactly.
//
//	min ⟨P, C⟩   over P ≥ 0,  P 1 ≤ a,  Pᵀ 1 ≤ b,  Σ P = Share · min(Σ a, Σ b)
//
// Total masses may differ. The marginals of the plan are the masses of the problem, so
// the columns and rows of units that are left behind sum to less. It is solved as a
// transport problem with one more unit on either side, which takes at no cost the mass
// that stays. Costs may be negative, and costs of many orders of magnitude are treated as
// in [EMD]. A computed share that may become 0 needs a check by the caller, because 0
// stands for the default.
//
// Caffarelli and McCann, "Free boundaries in optimal transport and
// Monge-Ampère obstacle problems" (2010); Chapel, Alaya and Gasso, "Partial
// optimal transport with applications on positive-unlabeled learning" (2020).
type Partial struct {
	Share float64 // of the mass that can be moved, in (0, 1]; 0 means 1
}

// Solve implements [Solver], but for the marginals of the plan.
func (s Partial) Solve(ctx context.Context, p Problem) (Plan, error) {
	in, p, _, err := readSigned(ctx, p, readProblem)
	if err != nil {
		return Plan{}, err
	}
	if in.maxCost > maxTotal { // twice the largest cost, below, would overflow
		return Plan{}, invalid("Cost", ErrNotFinite, "costs up to %g, want at most %g", in.maxCost, maxTotal)
	}
	share, err := in.moveShare(s.Share)
	if err != nil {
		return Plan{}, err
	}
	moved := share * min(in.totalA, in.totalB)
	if stay := 1e-15 * max(in.totalA, in.totalB); in.totalA-moved <= stay && in.totalB-moved <= stay {
		return EMD{}.Solve(ctx, p)
	}
	// Moving from the one extra unit to the other costs more than any detour, so that
	// no mass counts as staying on both sides.
	n, m := in.n, in.m
	wide := &instance{
		n: n + 1, m: m + 1, maxCost: cmp.Or(2*in.maxCost, 1), cost: make([]float64, 0, (n+1)*(m+1)),
		a: append(append([]float64(nil), in.a...), max(in.totalB-moved, 0)),
		b: append(append([]float64(nil), in.b...), max(in.totalA-moved, 0)),
	}
	for i := range n {
		wide.cost = append(append(wide.cost, in.cost[i*m:(i+1)*m]...), 0)
	}
	wide.cost = append(append(wide.cost, make([]float64, m)...), wide.maxCost)
	wide = wide.trimEmptyUnits()
	x, err := certified(ctx, wide, nil)
	if x.plan == nil {
		return Plan{}, err
	}
	moves := slices.DeleteFunc(x.plan.entries(), func(e entry) bool {
		return int(e.row) == n || int(e.column) == m // mass that stays
	})
	return in.sparsePlanOf(moves), err
}

// trimEmptyUnits leaves out the extra row or column if it has no mass.
func (in *instance) trimEmptyUnits() *instance {
	n, m := in.n, in.m
	if in.a[n-1] == 0 {
		in.n, in.a, in.cost = n-1, in.a[:n-1], in.cost[:(n-1)*m]
	}
	if in.b[m-1] > 0 {
		return in
	}
	c := make([]float64, 0, in.n*(m-1))
	for i := range in.n {
		c = append(c, in.cost[i*m:(i+1)*m-1]...)
	}
	in.m, in.b, in.cost = m-1, in.b[:m-1], c
	return in
}

// moveShare checks the share of the mass to be moved and fills in its default. The mass
// must not be lost in the rounding of the mass that stays.
func (in *instance) moveShare(share float64) (float64, error) {
	if !(share >= 0 && share <= 1) {
		return 0, invalid("Share", ErrOption, "%g", share)
	}
	share = cmp.Or(share, 1)
	if moved := share * min(in.totalA, in.totalB); moved < 1e-12*max(in.totalA, in.totalB) {
		return 0, invalid("Share", ErrOption, "%g moves %g of masses %g and %g", share, moved, in.totalA, in.totalB)
	}
	return share, nil
}

// PartialSinkhorn is [Partial] with entropic regularisation.
//
//	min ⟨P, C⟩ + ε Σ P (log P − 1)   over P 1 ≤ a,  Pᵀ 1 ≤ b,  Σ P = Share · min(Σ a, Σ b)
//	Pᵢⱼ = exp((fᵢ + gⱼ + h − Cᵢⱼ) / ε),  f ≤ 0,  g ≤ 0
//
// It works in the log domain. The residual of [NotConvergedError] is the L1 change
// of the row and column sums in the next iteration, relative to the mass moved.
//
// Benamou, Carlier, Cuturi, Nenna and Peyré, "Iterative Bregman projections for
// regularized transportation problems" (2015).
type PartialSinkhorn struct {
	Share   float64 // of the mass that can be moved, in (0, 1]; 0 means 1
	Reg     float64 // ε > 0 in units of the cost; 0 means DefaultReg of the largest cost
	Tol     float64 // 0 means DefaultTol
	MaxIter int     // never exceeded; 0 means DefaultMaxIter
	Start   *Duals  // both potentials of a similar problem; nil starts from zero
}

// Solve implements [Solver], but for the marginals of the plan.
func (s PartialSinkhorn) Solve(ctx context.Context, p Problem) (Plan, error) {
	e, err := s.solve(ctx, p)
	return e.plan, err
}

// SolveResult implements [ResultSolver]. The potential h of the total is part of
// every Uᵢ.
func (s PartialSinkhorn) SolveResult(ctx context.Context, p Problem) (Result, error) {
	e, err := s.solve(ctx, p)
	if e.kernel == nil {
		return Result{}, err
	}
	return e.result(), err
}

// solve checks the problem, finds the potentials and makes the plan of them.
func (s PartialSinkhorn) solve(ctx context.Context, p Problem) (entropic, error) {
	c, err := control{s.Reg, s.Tol, s.MaxIter}.withDefaults()
	if err != nil {
		return entropic{}, err
	}
	in, err := readProblem(ctx, p)
	if err != nil {
		return entropic{}, err
	}
	share, err := in.moveShare(s.Share)
	if err != nil {
		return entropic{}, err
	}
	c = c.withDefaultReg(in.maxCost)
	if err := c.checkReg(in.maxCost); err != nil {
		return entropic{}, err
	}
	moved := share * min(in.totalA, in.totalB)
	k := newKernel(ctx, in, moved, moved)
	k.reg = c.reg
	h, err := k.startCapped(s.Start, moved)
	if err != nil {
		return entropic{}, err
	}
	if err := k.iterateCapped(c, h); err != nil {
		return entropic{}, err
	}
	if err := k.build(); err != nil {
		return entropic{}, err
	}
	mass, _, err := k.coupling(moved)
	if err != nil {
		return entropic{}, err
	}
	e := entropic{in: in, kernel: k, plan: in.planOf(mass), unit: moved, residual: k.residual}
	return e, e.failure(c.tol)
}

// startCapped takes over the potentials d of a similar problem, in which h is part of
// those of the rows, and returns h/ε, the largest of the rows. It starts from zero
// instead where d is nil or so large that it would hide the costs behind its rounding.
func (k *kernel) startCapped(d *Duals, moved float64) (h float64, err error) {
	if d == nil {
		return 0, nil
	}
	v, err := k.problem.startPotentials(d)
	if err != nil {
		return 0, err
	}
	if len(d.U) != len(k.problem.fullA) {
		return 0, invalid("Start", ErrShape, "%d potentials for %d units", len(d.U), len(k.problem.fullA))
	}
	for i := range k.f {
		at := k.problem.originalRow(i)
		if k.f[i] = d.U[at] - k.reg*math.Log(moved); math.IsNaN(d.U[at]) || math.IsInf(d.U[at], 0) {
			return 0, badEntry("Start", at, -1, d.U[at], ErrNotFinite)
		}
	}
	limit := 2 * (k.problem.maxCost + 1500*k.reg)
	if floats.Norm(k.f, math.Inf(1)) > limit || floats.Norm(v, math.Inf(1)) > limit {
		setAll(k.f, 0)
		return 0, nil
	}
	for j, g := range v {
		k.g[j] = min(0, g)
	}
	return floats.Max(k.f) / k.reg, nil
}

// iterateCapped updates h, the rows and the columns in turn. The variable h is in units
// of ε, and it is also part of the potentials of the rows.
func (k *kernel) iterateCapped(c control, h float64) error {
	sums := make([]float64, k.n)  // log Σⱼ exp((gⱼ − Cᵢⱼ)/ε)
	total := make([]float64, k.n) // log of the mass of every row
	k.columnStep = func(logMass, logSum float64) float64 { return min(0, logMass-logSum) }
	for ; ; k.iterations++ {
		if err := k.eachLogSum(func(i int, sum, top float64) {
			sums[i] = sum + top/k.reg
			total[i] = k.f[i]/k.reg + sums[i]
		}); err != nil {
			return err
		}
		all := floats.LogSumExp(total)
		h -= all
		floats.AddConst(-all*k.reg, k.f)
		copy(k.oldF, k.f)
		copy(k.oldV, k.g)
		for i, s := range sums {
			f := k.reg * min(h, math.Log(k.a[i])-s)
			k.rowErrors[i] = k.massChange(k.f[i], f, s, 0)
			k.f[i] = f
		}
		if err := k.updateLogColumns(); err != nil {
			return err
		}
		k.residual = floats.Sum(k.rowErrors) + floats.Sum(k.columnSums)
		if k.residual <= c.tol || k.iterations == c.limit {
			copy(k.f, k.oldF) // at these the total holds exactly
			copy(k.g, k.oldV)
			return nil
		}
	}
}
