package ot

import (
	"cmp"
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
)

// DefaultPenalty is the default of ρ in [Unbalanced], relative to the largest cost
// between units with mass.
const DefaultPenalty = 1.0

// Unbalanced solves the entropic problem that may create and destroy mass: penalties draw
// the marginals towards a and b, but do not bind them.
//
//	min ⟨P, C⟩ + ε KL(P | R) + ρ KL(P 1 | a) + ρ′ KL(Pᵀ 1 | b)   over P ≥ 0
//	KL(x | y) = Σ x log(x/y) − x + y
//
// Total masses may differ. The marginals of the plan are the masses of the problem, to
// which its rows and columns do not sum, so [Plan.Push] and [Plan.Pull] shrink or grow
// what they move. As ρ → ∞ the plan tends to that of [Sinkhorn], but an iteration
// contracts by no more than (ρ/(ρ + ε))², so heavy penalties need many iterations. A
// penalty so small that no mass is left gives an [*InvalidError]. The residual of
// [NotConvergedError] is the L1 change of the row sums in the next iteration, relative to
// the mass of the plan.
//
// Chizat, Peyré, Schmitzer and Vialard, "Scaling algorithms for unbalanced
// optimal transport problems" (2018).
type Unbalanced struct {
	Reg           float64 // ε > 0 in units of the cost; 0 means DefaultReg of the largest cost
	Penalty       float64 // ρ > 0 in units of the cost; 0 means DefaultPenalty of the largest cost
	TargetPenalty float64 // ρ′ > 0 in units of the cost; 0 means Penalty
	Prior         Prior   // R; nil means PriorProduct
	Tol           float64 // 0 means DefaultTol
	MaxIter       int     // never exceeded; 0 means DefaultMaxIter
	Start         *Duals  // as in [Sinkhorn]
}

// Prior is the plan R that entropic regularisation prefers: [PriorProduct] or
// [PriorCounting]. There are no others: the interface is closed.
type Prior interface {
	// relax returns the update under a penalty with ρ/(ρ + ε) = tau.
	relax(tau float64) updateRule
	// log returns log Rᵢⱼ for the masses a and b of the two units.
	log(a, b float64) float64
	// total returns Σ R for all masses a [N] and b [M], also those that are zero.
	total(a, b []float64) float64
}

// PriorProduct is the prior R = a bᵀ of independent sides.
type PriorProduct struct{}

// relax implements [Prior]: fᵢ/ε = log aᵢ − τ log Σⱼ exp((gⱼ − Cᵢⱼ)/ε).
func (PriorProduct) relax(tau float64) updateRule {
	return func(logMass, logSum float64) float64 { return logMass - tau*logSum }
}

func (PriorProduct) log(a, b float64) float64 { return math.Log(a) + math.Log(b) }

func (PriorProduct) total(a, b []float64) float64 { return floats.Sum(a) * floats.Sum(b) }

// PriorCounting is the prior Rᵢⱼ = 1. With it ε KL(P | R) is the negative entropy
// ε Σ P (log P − 1), up to a constant.
type PriorCounting struct{}

// relax implements [Prior]: fᵢ/ε = τ (log aᵢ − log Σⱼ exp((gⱼ − Cᵢⱼ)/ε)).
func (PriorCounting) relax(tau float64) updateRule {
	return func(logMass, logSum float64) float64 { return tau * (logMass - logSum) }
}

func (PriorCounting) log(_, _ float64) float64 { return 0 }

func (PriorCounting) total(a, b []float64) float64 { return float64(len(a)) * float64(len(b)) }

// Solve implements [Solver], but for the marginals of the plan.
func (s Unbalanced) Solve(ctx context.Context, p Problem) (Plan, error) {
	e, _, err := s.solve(ctx, p)
	return e.plan, err
}

// SolveResult implements [ResultSolver]. The objective without the term of ε is
// ⟨P, C⟩ + ρ KL(P 1 | a) + ρ′ KL(Pᵀ 1 | b). R is part of the potentials: for the
// classical ones of [PriorProduct] take ε log aᵢ from Uᵢ and ε log bⱼ from Vⱼ.
func (s Unbalanced) SolveResult(ctx context.Context, p Problem) (Result, error) {
	e, filled, err := s.solve(ctx, p)
	if e.kernel == nil {
		return Result{}, err
	}
	r := e.result()
	r.Objective, r.Regularised = filled.objectives(e)
	return r, err
}

// solve also returns s with its defaults filled in.
func (s Unbalanced) solve(ctx context.Context, p Problem) (entropic, Unbalanced, error) {
	c, err := control{s.Reg, s.Tol, s.MaxIter}.withDefaults()
	if err != nil {
		return entropic{}, s, err
	}
	if err := s.validate(); err != nil {
		return entropic{}, s, err
	}
	in, err := readProblem(ctx, p)
	if err != nil {
		return entropic{}, s, err
	}
	start, err := in.startPotentials(s.Start)
	if err != nil {
		return entropic{}, s, err
	}
	c = c.withDefaultReg(in.maxCost)
	s.fill(in.maxCost)
	k := newKernel(ctx, in, 1, 1)
	k.rowStep = s.Prior.relax(s.Penalty / (s.Penalty + c.reg))
	k.columnStep = s.Prior.relax(s.TargetPenalty / (s.TargetPenalty + c.reg))
	if err := c.run(k, start); err != nil {
		return entropic{}, s, err
	}
	mass, _, err := k.coupling(1)
	if err != nil {
		return entropic{}, s, err
	}
	e := entropic{in: in, kernel: k, plan: in.planOf(mass), unit: 1, residual: k.residual}
	if total := e.plan.total(); !(total > 1/maxTotal && total < maxTotal) {
		return entropic{}, s, invalid("Penalty", ErrEmpty, "%g leaves a plan of mass %g at costs up to %g",
			s.Penalty, total, in.maxCost)
	}
	return e, s, e.failure(c.tol)
}

// validate checks the penalties.
func (s Unbalanced) validate() error {
	if !(s.Penalty >= 0) || math.IsInf(s.Penalty, 0) {
		return invalid("Penalty", ErrOption, "%g", s.Penalty)
	}
	if !(s.TargetPenalty >= 0) || math.IsInf(s.TargetPenalty, 0) {
		return invalid("TargetPenalty", ErrOption, "%g", s.TargetPenalty)
	}
	return nil
}

// fill sets the options that are zero to their defaults for costs up to top.
func (s *Unbalanced) fill(top float64) {
	if top == 0 {
		top = 1
	}
	s.Penalty = cmp.Or(s.Penalty, min(max(DefaultPenalty*top, 1/maxTotal), maxTotal))
	s.TargetPenalty = cmp.Or(s.TargetPenalty, s.Penalty)
	if s.Prior == nil {
		s.Prior = PriorProduct{}
	}
}

// objectives returns the objective at the plan without and with the term of ε.
func (s Unbalanced) objectives(e entropic) (objective, regularised float64) {
	in, cols := e.in, make([]float64, e.in.m)
	var divergence float64 // KL(P | R)
	for i, a := range in.a {
		row := e.kernel.entriesRow(i)
		floats.Add(cols, row)
		objective += dotCost(row, e.kernel.costRow(i)) + s.Penalty*divergenceOf(floats.Sum(row), a)
		for j, v := range row {
			if v > 0 {
				divergence += v * (math.Log(v) - s.Prior.log(a, in.b[j]) - 1)
			}
		}
	}
	for j, b := range in.b {
		objective += s.TargetPenalty * divergenceOf(cols[j], b)
	}
	return objective, objective + e.kernel.reg*(divergence+s.Prior.total(in.fullA, in.fullB))
}

// divergenceOf returns the term x log(x/y) − x + y of a Kullback–Leibler divergence.
func divergenceOf(x, y float64) float64 {
	if x == 0 {
		return y
	}
	return x*math.Log(x/y) - x + y
}
