package align

import (
	"context"
	"errors"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// A planeSolver solves for heads under rotary positions. Each of the units that are
// turned has a frequency of its own, so a head is carried as a whole: what it costs is
// the mean cost of its units, those in planes each on its like, the rest by a plan of
// their own.
type planeSolver struct {
	ot.Solver
	site Site
}

// Solve implements [ot.Solver].
func (s planeSolver) Solve(ctx context.Context, p ot.Problem) (ot.Plan, error) {
	n, m := p.Cost.Dims()
	heads, anchor := s.site.Heads, s.site.AnchorHeads
	if heads <= 0 || anchor <= 0 || n%heads != 0 || m%anchor != 0 || n/heads != m/anchor {
		return ot.Plan{}, fmt.Errorf("%d heads of %d units in all cannot be carried to %d heads of %d under rotary positions",
			heads, n, anchor, m)
	}
	d := n / heads
	whole, within := mat.NewDense(heads, anchor, nil), make([]*mat.Dense, heads*anchor)
	var warning error
	for g := range heads {
		for h := range anchor {
			block := mat.NewDense(d, d, nil)
			block.Apply(func(i, j int, _ float64) float64 { return p.Cost.At(g*d+i, h*d+j) }, block)
			mass, err := s.head(ctx, block)
			if mass == nil {
				return ot.Plan{}, err
			}
			within[g*anchor+h], warning = mass, errors.Join(warning, err)
			block.MulElem(block, mass)
			whole.Set(g, h, mat.Sum(block))
		}
	}
	matched, err := s.Solver.Solve(ctx, ot.Problem{Cost: whole})
	if err := planFits(matched, whole, s.Solver, err); err != nil {
		return ot.Plan{}, err
	}
	mass, shares := mat.NewDense(n, m, nil), matched.Mass()
	for g := range heads {
		for h := range anchor {
			mass.Slice(g*d, (g+1)*d, h*d, (h+1)*d).(*mat.Dense).Scale(shares.At(g, h), within[g*anchor+h])
		}
	}
	plan, failed := ot.NewPlan(mass, nil, nil)
	return plan, errors.Join(failed, err, warning)
}

// head returns the plan between the units of two heads, of mass 1 in all. A plan that
// did not converge comes with its error.
func (s planeSolver) head(ctx context.Context, cost *mat.Dense) (*mat.Dense, error) {
	d, _ := cost.Dims()
	mass, fixed := mat.NewDense(d, d, nil), 2*s.site.Planes
	for i := range fixed {
		mass.Set(i, i, 1/float64(d))
	}
	if fixed == d {
		return mass, nil
	}
	rest := mat.DenseCopyOf(cost.Slice(fixed, d, fixed, d))
	p, err := s.Solver.Solve(ctx, ot.Problem{Cost: rest})
	if err := planFits(p, rest, s.Solver, err); err != nil {
		return nil, err
	}
	mass.Slice(fixed, d, fixed, d).(*mat.Dense).Scale(float64(d-fixed)/float64(d), p.Mass())
	return mass, err
}
