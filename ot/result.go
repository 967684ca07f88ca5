package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
)

// Result is the whole answer of an entropic solver: its plan, and what gradients,
// warm starts, out-of-sample maps and stopping rules need to know about it.
//
// The zero Result comes with every error other than a [*NotConvergedError].
type Result struct {
	Plan Plan

	// Duals are the potentials of the plan, Pᵢⱼ = exp((Uᵢ + Vⱼ − Cᵢⱼ)/Reg), in
	// units of the cost, and −∞ for units without mass. Unlike those of [EMD]
	// their sums may exceed costs.
	Duals Duals

	Reg         float64 // ε that was used, in units of the cost
	Objective   float64 // at the plan, without the term of ε; ⟨P, C⟩ where nothing else is minimised
	Regularised float64 // at the plan, with the term of ε
	Iterations  int     // over all ε, at most MaxIter
	Residual    float64 // what Tol bounds, as in [NotConvergedError]
}

// ResultSolver is a [Solver] that can also say how it came to its plan. Solve and
// SolveResult return the same plan and the same errors.
type ResultSolver interface {
	Solver
	SolveResult(ctx context.Context, p Problem) (Result, error)
}

// entropic is what an entropic solver leaves behind.
type entropic struct {
	in       *instance
	kernel   *kernel // its entries are those of the plan
	plan     Plan
	unit     float64 // total that the masses of the kernel are relative to
	residual float64
}

// failure returns the error of an iteration whose residual is above tol, or nil.
func (e entropic) failure(tol float64) error {
	if e.residual <= tol {
		return nil
	}
	return &NotConvergedError{Iterations: e.kernel.iterations, Residual: e.residual}
}

// result describes the plan of a problem whose objective is ⟨P, C⟩ + ε Σ P (log P − 1).
func (e entropic) result() Result {
	k := e.kernel
	k.absorb()
	r := Result{
		Plan: e.plan, Reg: k.reg, Iterations: k.iterations, Residual: e.residual,
		Duals: Duals{U: constantVector(len(e.in.fullA), math.Inf(-1)), V: constantVector(len(e.in.fullB), math.Inf(-1))},
	}
	for i, f := range k.f {
		r.Duals.U[e.in.originalRow(i)] = f + k.reg*math.Log(e.unit)
	}
	for j, g := range k.g {
		r.Duals.V[e.in.originalColumn(j)] = g
	}
	var negentropy float64
	for i := range k.n {
		r.Objective += dotCost(k.entriesRow(i), k.costRow(i))
		for _, v := range k.entriesRow(i) {
			if v > 0 {
				negentropy += v * (math.Log(v) - 1)
			}
		}
	}
	r.Regularised = r.Objective + k.reg*negentropy
	return r
}

// dotCost returns Σⱼ pⱼ cⱼ over the entries with mass.
func dotCost(p, c []float64) (sum float64) {
	for j, v := range p {
		if v > 0 {
			sum += v * c[j]
		}
	}
	return sum
}

// run runs the kernel at ε from the potentials of the columns, those of a
// similar problem, or anneals where there are none.
func (c control) run(k *kernel, start []float64) error {
	if start == nil {
		return c.anneal(k)
	}
	k.reg = c.reg
	if err := c.startKernel(k, start); err != nil {
		return err
	}
	if err := k.build(); err != nil {
		return err
	}
	r := relaxation{tol: c.tol, limit: c.limit}
	return r.run(k)
}

// startKernel takes over the potentials of the columns and derives those of the rows by
// an update in the log domain, so that start needs no potentials of the rows.
func (c control) startKernel(k *kernel, start []float64) error {
	if err := c.checkReg(k.problem.maxCost); err != nil {
		return err
	}
	if floats.Norm(start, math.Inf(1)) > maxTotal { // their sums with costs overflow
		return k.tighten()
	}
	copy(k.g, start)
	// Potentials larger than costs and masses can explain would hide the costs behind
	// their own rounding.
	if floats.Norm(start, math.Inf(1)) > 2*(k.problem.maxCost+1500*c.reg) {
		return k.tighten()
	}
	return k.updateLogRows()
}

// constantVector returns a vector of n entries v.
func constantVector(n int, v float64) []float64 {
	x := make([]float64, n)
	setAll(x, v)
	return x
}
