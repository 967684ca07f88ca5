package ot_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
	"github.com/otfuse/otfuse/ot/ottest"
)

func TestConformance(t *testing.T) {
	t.Run("EMD", func(t *testing.T) { ottest.TestSolver(t, ot.EMD{}, 1e-12) })
	t.Run("Sinkhorn", func(t *testing.T) { ottest.TestSolver(t, ot.Sinkhorn{}, ot.DefaultTol) })
	t.Run("Sinkhorn wide", func(t *testing.T) { ottest.TestSolver(t, ot.Sinkhorn{Reg: 10, Tol: 1e-12}, 1e-12) })
	t.Run("Sinkhorn narrow", func(t *testing.T) { ottest.TestSolver(t, ot.Sinkhorn{Reg: 1e-3, Tol: 1e-7}, 1e-7) })
	t.Run("Sinkhorn brief", func(t *testing.T) { ottest.TestSolver(t, ot.Sinkhorn{Reg: 1e-3, MaxIter: 3}, 1e-9) })
}

func TestConformanceRelaxed(t *testing.T) {
	for name, s := range map[string]ot.Solver{
		"unbalanced":       ot.Unbalanced{Reg: 0.05, MaxIter: 500},
		"counting":         ot.Unbalanced{Reg: 0.05, Penalty: 0.1, Prior: ot.PriorCounting{}, MaxIter: 500},
		"partial":          ot.Partial{Share: 0.6},
		"partial whole":    ot.Partial{},
		"partial sinkhorn": ot.PartialSinkhorn{Share: 0.6, MaxIter: 500},
	} {
		t.Run(name, func(t *testing.T) { ottest.TestRelaxed(t, s, 1e-7) })
	}
}

// quadratic is what solves problems between sides known from within.
type quadratic interface {
	Solve(ctx context.Context, q ot.Quadratic) (ot.Plan, float64, error)
}

// inside is such a one as a solver: nothing is known of what holds within the
// sides, so that the cost across alone decides.
type inside struct{ quadratic }

func (s inside) Solve(ctx context.Context, p ot.Problem) (ot.Plan, error) {
	n, m := 2, 3 // of the problems that are none
	switch {
	case p.Cost == nil:
		return ot.Plan{}, p.Validate()
	case p.Validate() == nil:
		n, m = p.Cost.Dims()
	}
	plan, _, err := s.quadratic.Solve(ctx, ot.Quadratic{
		X: mat.NewDense(n, n, nil), Y: mat.NewDense(m, m, nil), Cost: p.Cost, A: p.A, B: p.B,
	})
	return plan, err
}

func TestConformanceGromov(t *testing.T) {
	t.Run("exact", func(t *testing.T) { ottest.TestSolver(t, inside{ot.GromovWasserstein{}}, 1e-9) })
	t.Run("entropic", func(t *testing.T) { ottest.TestSolver(t, inside{ot.EntropicGromovWasserstein{}}, ot.DefaultTol) })
}

// What is no [ot.Solver] does not depend on the number of processors either.
func TestProcessors(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 1))
	const n, m = 210, 190
	x, y, c := randomCost(rng, n, n), randomCost(rng, m, m), randomCost(rng, n, m)
	a, b, other := randomMass(rng, n), randomMass(rng, m), randomMass(rng, m)
	solve := func() (mat.Matrix, []float64) {
		q := ot.Quadratic{X: x, Y: y, Cost: c, A: a, B: b}
		soft, _, err := ot.EntropicGromovWasserstein{Tol: 1e-3}.Solve(t.Context(), q)
		require.NoError(t, err)
		plan, _, err := ot.GromovWasserstein{Start: &soft, Tol: 1e-3}.Solve(t.Context(), q)
		require.NoError(t, err)
		bar, err := ot.Barycenter{Tol: 1e-3}.Solve(t.Context(), c, [][]float64{b, other}, nil)
		require.NoError(t, err)
		return plan.Mass(), bar
	}
	plan, bar := solve()
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for _, procs := range []int{1, 3} {
		runtime.GOMAXPROCS(procs)
		p, q := solve()
		require.True(t, mat.Equal(plan, p))
		require.Equal(t, bar, q)
	}
}
