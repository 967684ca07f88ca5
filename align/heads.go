package align

import (
	"context"
	"errors"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// Heads aligns the heads of an attention layer first, then the units within
// matched heads. With C_gh the optimal cost of carrying the units of head g onto
// those of head h, the heads are assigned by exact transport of C [heads ×
// heads], and the plan holds, for each match, the plan of its units. Other
// layers are aligned as [Units] does. Each site has an assignment of its own:
// queries, keys and values of a layer need not agree on one.
//
// Heads may differ in width, not in number: that is a [*HeadsError].
type Heads struct{ Units }

// A HeadsError reports attention layers that do not have the same number of
// heads, so that no assignment of heads exists.
type HeadsError struct {
	Site           string
	Source, Anchor int // heads
}

// Error implements error.
func (e *HeadsError) Error() string {
	return fmt.Sprintf("align: %s: %d heads cannot be assigned to %d", e.Site, e.Source, e.Anchor)
}

// Align implements [Aligner].
func (h Heads) Align(ctx context.Context, sites ...Site) (Result, error) {
	if len(sites) == 0 {
		return Result{}, errNoSite
	}
	h.Units = h.withDefaults()
	s := sites[0]
	if s.Heads == 0 && s.AnchorHeads == 0 || s.Planes > 0 { // under rotary positions Units goes by heads, too
		return h.Units.Align(ctx, sites...)
	}
	if s.Heads != s.AnchorHeads {
		return Result{}, &HeadsError{s.Name, s.Heads, s.AnchorHeads}
	}
	cost, err := h.costUnlessEnded(ctx, sites...)
	if err != nil {
		return Result{}, err
	}
	n, m := cost.Dims()
	if n%s.Heads != 0 || m%s.Heads != 0 {
		return Result{}, fmt.Errorf("align: %s: %d and %d units do not divide into %d heads", s.Name, n, m, s.Heads)
	}
	p, err := h.solve(ctx, cost, s.Heads)
	if err != nil {
		err = fmt.Errorf("align: %s: %w", s.Name, err)
	}
	if p.IsIdentity() {
		return Result{}, err
	}
	return Result{Plan: p, Cost: p.Cost(cost)}, err
}

// solve finds the plan for a cost [n × m] whose rows and columns divide into
// heads. An [*ot.NotConvergedError] of a match comes with the plan.
func (h Heads) solve(ctx context.Context, cost *mat.Dense, heads int) (ot.Plan, error) {
	n, m := cost.Dims()
	n, m = n/heads, m/heads
	within, late := make([]ot.Plan, heads*heads), make([]error, heads*heads)
	total := mat.NewDense(heads, heads, nil)
	for g := range heads {
		for k := range heads {
			block := mat.DenseCopyOf(cost.Slice(g*n, (g+1)*n, k*m, (k+1)*m))
			p, err := h.Solver.Solve(ctx, ot.Problem{Cost: block})
			var warning *ot.NotConvergedError
			if err != nil && !errors.As(err, &warning) {
				return ot.Plan{}, err
			}
			if err := planFits(p, block, h.Solver, err); err != nil {
				return ot.Plan{}, err
			}
			within[g*heads+k], late[g*heads+k] = p, err
			total.Set(g, k, p.Cost(block))
		}
	}
	matched, err := ot.EMD{}.Solve(ctx, ot.Problem{Cost: total})
	if err != nil {
		return ot.Plan{}, err
	}
	mass := mat.NewDense(heads*n, heads*m, nil)
	for i, p := range within {
		g, k := i/heads, i%heads
		share := matched.Mass().At(g, k)
		if share == 0 {
			continue
		}
		block := mass.Slice(g*n, (g+1)*n, k*m, (k+1)*m).(*mat.Dense)
		block.Scale(share, p.Mass())
		if late[i] != nil {
			err = late[i]
		}
	}
	p, failed := ot.NewPlan(mass, nil, nil)
	return p, errors.Join(failed, err)
}
