package ot

import (
	"context"
	"math"
)

// DefaultPenalty is the default of [Unbalanced].
const DefaultPenalty = 1.0

// Unbalanced solves the entropic problem that may create and destroy mass: the
// marginals are drawn to a and b instead of bound to them.
//
//	min ⟨P, C⟩ + ε KL(P | R) + ρ KL(P 1 | a) + ρ KL(Pᵀ 1 | b)   over P ≥ 0
//	KL(x | y) = Σ x log(x/y) − x + y
//
// Total masses may differ. The plan carries the masses it was asked for, so
// that its columns and rows do not sum to them, and [Plan.Push] and
// [Plan.Pull] shrink or grow what they move. As ρ → ∞ it tends to the plan of
// [Sinkhorn], but an iteration contracts no faster than (ρ/(ρ + ε))², so heavy
// penalties need many. A penalty so small that no mass is left gives an
// [*InvalidError]. The residual of [NotConvergedError] is the L1 change of the row
// sums in the next iteration, relative to the mass of the plan.
//
// Chizat, Peyré, Schmitzer and Vialard, "Scaling algorithms for unbalanced
// optimal transport problems" (2018).
type Unbalanced struct {
	Reg     float64 // ε > 0 in units of the cost; 0 means DefaultReg
	Penalty float64 // ρ > 0 in units of the cost; 0 means DefaultPenalty
	Prior   Prior   // R; nil means PriorProduct
	Tol     float64 // 0 means DefaultTol
	MaxIter int     // 0 means DefaultMaxIter
}

// Prior is the plan R that entropic regularisation prefers: [PriorProduct] or
// [PriorCounting]. There are no others: the interface is closed.
type Prior interface {
	// relax is the step under a penalty with ρ/(ρ + ε) = tau.
	relax(tau float64) step
}

// PriorProduct is the prior R = a bᵀ of independent sides.
type PriorProduct struct{}

func (PriorProduct) relax(tau float64) step {
	return func(logMass, logSum float64) float64 { return logMass - tau*logSum }
}

// PriorCounting is the prior Rᵢⱼ = 1. With it ε KL(P | R) is the negative entropy
// ε Σ P (log P − 1), up to a constant.
type PriorCounting struct{}

func (PriorCounting) relax(tau float64) step {
	return func(logMass, logSum float64) float64 { return tau * (logMass - logSum) }
}

// Solve implements [Solver], but for the marginals of the plan.
func (s Unbalanced) Solve(ctx context.Context, p Problem) (Plan, error) {
	c, err := control{s.Reg, s.Tol, s.MaxIter}.filled()
	if err != nil {
		return Plan{}, err
	}
	rho := s.Penalty
	switch {
	case !(rho >= 0) || math.IsInf(rho, 0):
		return Plan{}, invalid("Penalty", ErrOption, "%g", rho)
	case rho == 0:
		rho = DefaultPenalty
	}
	prior := s.Prior
	if prior == nil {
		prior = PriorProduct{}
	}
	in, err := load(p)
	if err != nil {
		return Plan{}, err
	}
	if err := contextError(ctx); err != nil {
		return Plan{}, err
	}
	k := newKernel(ctx, in, 1, 1)
	k.next = prior.relax(rho / (rho + c.reg))
	if err := c.anneal(k); err != nil {
		return Plan{}, err
	}
	mass, _, err := k.coupling(1)
	if err != nil {
		return Plan{}, err
	}
	plan := in.plan(mass)
	switch total := plan.total(); {
	case !(total > 1/maxTotal && total < maxTotal):
		return Plan{}, invalid("Penalty", ErrEmpty, "%g leaves a plan of mass %g at costs up to %g", rho, total, in.top)
	case !(k.residual <= c.tol):
		return plan, &NotConvergedError{Iterations: k.count, Residual: k.residual}
	}
	return plan, nil
}
