package ot

import (
	"cmp"
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
)

// Defaults of the entropic solvers.
const (
	// DefaultReg is the default of ε relative to the largest cost between units
	// with mass, ε = 0.05 max C, so that the plan does not depend on the unit of
	// the cost. An ε that is set counts in units of the cost as it is: above about
	// the largest cost the plan is nearly a bᵀ, in which all units are alike.
	// [Scaled] brings costs to a scale on which one ε suits many problems.
	DefaultReg = 0.05

	DefaultTol     = 1e-9
	DefaultMaxIter = 10000
)

// Sinkhorn solves the transport problem with entropic regularisation.
//
//	min ⟨P, C⟩ + ε Σᵢⱼ Pᵢⱼ (log Pᵢⱼ − 1)   over P 1 = a,  Pᵀ 1 = b
//	Pᵢⱼ = exp((fᵢ + gⱼ − Cᵢⱼ) / ε)
//
// It scales a kernel and absorbs the scalings into the potentials f, g before they
// leave the range of floating point. Where that is too late it updates in the log
// domain, so that no ε underflows. Small ε is approached from large ones, unless the
// solver starts from given potentials, and the scaling is over-relaxed as its observed
// convergence rate suggests. One iteration updates both sides; iterations count over
// all ε.
//
// An option that is negative or not finite, an ε outside of 1e±300, costs above 1e300 and
// costs above 1e12 ε, whose rounding would decide the plan, give an [*InvalidError].
//
// Cuturi, "Sinkhorn distances" (2013); Schmitzer, "Stabilized sparse scaling
// algorithms for entropy regularized transport problems" (2019); Lehmann, von
// Renesse, Sambale and Uschmajew, "A note on overrelaxation in the Sinkhorn
// algorithm" (2022).
type Sinkhorn struct {
	Reg     float64 // ε > 0 in units of the cost; 0 means DefaultReg of the largest cost
	Tol     float64 // L1 error of either marginal, relative to the total mass; 0 means DefaultTol
	MaxIter int     // never exceeded; 0 means DefaultMaxIter

	// Start warm-starts the solver with the dual potentials V [m] of a similar
	// problem; nil starts from the costs alone. It changes how many iterations a
	// solution takes, and the plan within Tol.
	Start *Duals
}

// Solve implements [Solver]. If MaxIter is not enough the plan comes with a
// [*NotConvergedError]; its columns still sum to b.
func (s Sinkhorn) Solve(ctx context.Context, p Problem) (Plan, error) {
	e, err := s.solve(ctx, p)
	return e.plan, err
}

// SolveResult implements [ResultSolver].
func (s Sinkhorn) SolveResult(ctx context.Context, p Problem) (Result, error) {
	e, err := s.solve(ctx, p)
	if e.kernel == nil {
		return Result{}, err
	}
	return e.result(), err
}

// solve checks the problem, finds the potentials and makes the plan of them.
func (s Sinkhorn) solve(ctx context.Context, p Problem) (entropic, error) {
	c, err := control{s.Reg, s.Tol, s.MaxIter}.withDefaults()
	if err != nil {
		return entropic{}, err
	}
	in, err := readBalanced(ctx, p)
	if err != nil {
		return entropic{}, err
	}
	start, err := in.startPotentials(s.Start)
	if err != nil {
		return entropic{}, err
	}
	c = c.withDefaultReg(in.maxCost)
	total := floats.Sum(in.a)
	k := newKernel(ctx, in, total, floats.Sum(in.b))
	if err := c.run(k, start); err != nil {
		return entropic{}, err
	}
	mass, residual, err := k.coupling(total)
	if err != nil {
		return entropic{}, err
	}
	e := entropic{in: in, kernel: k, plan: in.planOf(mass), unit: total, residual: residual}
	return e, e.failure(c.tol)
}

// control holds the options that all entropic iterations have in common.
type control struct {
	reg, tol float64
	limit    int // of iterations
}

// withDefaults checks the options and fills in the defaults except that of ε, which
// depends on the costs.
func (c control) withDefaults() (control, error) {
	switch {
	case !(c.reg == 0 || c.reg > 1/maxTotal && c.reg < maxTotal):
		return c, invalid("Reg", ErrOption, "%g", c.reg)
	case !(c.tol >= 0) || math.IsInf(c.tol, 0):
		return c, invalid("Tol", ErrOption, "%g", c.tol)
	case c.limit < 0:
		return c, invalid("MaxIter", ErrOption, "%d", c.limit)
	}
	return control{c.reg, cmp.Or(c.tol, DefaultTol), cmp.Or(c.limit, DefaultMaxIter)}, nil
}

// withDefaultReg fills in the default of ε for costs up to top.
func (c control) withDefaultReg(top float64) control {
	switch {
	case c.reg != 0:
	case top == 0:
		c.reg = DefaultReg // without costs every ε gives the same plan
	default:
		c.reg = min(max(DefaultReg*top, 2/maxTotal), maxTotal/2)
	}
	return c
}

// checkReg rejects an ε so small that rounding of the costs decides the plan, and costs
// whose sums with potentials may not be finite.
func (c control) checkReg(top float64) error {
	if top > maxTotal {
		return invalid("Cost", ErrNotFinite, "costs up to %g are beyond floating point", top)
	}
	if top/c.reg > 1e12 {
		return invalid("Reg", ErrOption, "%g is too small for costs up to %g", c.reg, top)
	}
	return nil
}

// Annealing: stages of falling ε, of which only the last is solved to the tolerance.
const (
	annealFrom      = 20.0 // ratio of the largest cost to ε up to which there is one stage
	annealFactor    = 4.0  // ratio of ε from one stage to the next
	stageTol        = 0.01 // tolerance of the stages before the last
	stageIterations = 50   // most iterations of each of those stages
)

// anneal solves for a falling sequence of ε that ends at reg. Every stage starts from
// the potentials of the stage before.
func (c control) anneal(k scaling) error {
	top := k.largestCost()
	if err := c.checkReg(top); err != nil {
		return err
	}
	if top > annealFrom*c.reg {
		if err := k.tighten(); err != nil {
			return err
		}
	}
	for reg := c.reg * math.Pow(annealFactor, c.annealStages(top)); reg > c.reg*1.001; reg /= annealFactor {
		if k.state().iterations+1 >= c.limit {
			break // keep the last iteration for the ε that was asked for
		}
		if err := k.setReg(reg); err != nil {
			return err
		}
		r := relaxation{tol: stageTol, limit: min(k.state().iterations+stageIterations, c.limit/2)}
		if err := r.run(k); err != nil {
			return err
		}
	}
	if err := k.setReg(c.reg); err != nil {
		return err
	}
	r := relaxation{tol: c.tol, limit: c.limit}
	return r.run(k)
}

// annealStages returns the number of stages before the last.
func (c control) annealStages(top float64) float64 {
	if top <= annealFrom*c.reg {
		return 0
	}
	return math.Ceil(math.Log(top/(annealFrom*c.reg)) / math.Log(annealFactor))
}
