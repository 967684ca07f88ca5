package ot_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// within checks that a plan moves the mass that is wanted, and no more of any unit than
// the unit has.
func within(t *testing.T, plan ot.Plan, moved, tol float64) {
	t.Helper()
	a, b := plan.Marginals()
	p := plan.Mass()
	var total float64
	for i := range a {
		row := mat.Sum(mat.NewVecDense(len(b), mat.Row(nil, i, p)))
		require.LessOrEqual(t, row, a[i]+tol)
		total += row
	}
	for j := range b {
		require.LessOrEqual(t, mat.Sum(mat.NewVecDense(len(a), mat.Col(nil, j, p))), b[j]+tol)
	}
	require.InDelta(t, moved, total, tol)
	require.GreaterOrEqual(t, mat.Min(p), 0.0)
}

func TestGoldenPartial(t *testing.T) {
	g := openGoldens(t, "partial")
	for _, c := range g.Cases {
		t.Run(c.ID, func(t *testing.T) {
			p := g.problem(t, c)
			var s ot.Solver = ot.Partial{Share: c.M}
			tol := 1e-12
			if strings.Contains(c.ID, "entropic") {
				s, tol = ot.PartialSinkhorn{Share: c.M, Reg: c.Reg}, 1e-8
			}
			plan := mustSolve(t, s, p)
			within(t, plan, c.M, tol)
			require.InEpsilon(t, c.Cost, plan.Cost(p.Cost), max(tol, 1e-9))
			near(t, g.matrix(t, c, "G"), plan.Mass(), 1e-6)
		})
	}
}

func TestPartial(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	p := ot.Problem{Cost: randomCost(rng, 9, 6), A: randomMass(rng, 9), B: randomMass(rng, 6)}
	for j := range p.B {
		p.B[j] *= 3 // totals differ
	}
	p.A[2], p.B[1] = 0, 0
	var mass float64
	for _, v := range p.A {
		mass += v
	}
	last := 0.0
	for _, share := range []float64{1e-3, 0.2, 0.5, 0.9, 1} {
		plan := mustSolve(t, ot.Partial{Share: share}, p)
		within(t, plan, share*mass, 1e-12)
		// The price of a unit rises with the share.
		price := plan.Cost(p.Cost) / share
		require.GreaterOrEqual(t, price, last-1e-12)
		last = price
		soft := mustSolve(t, ot.PartialSinkhorn{Share: share, Reg: 0.01, MaxIter: 100000}, p)
		within(t, soft, share*mass, 1e-8)
		require.GreaterOrEqual(t, soft.Cost(p.Cost), plan.Cost(p.Cost)-1e-9)
		require.InDelta(t, plan.Cost(p.Cost), soft.Cost(p.Cost), 0.05*mass)
	}
	// The whole share of equal masses is the transport problem.
	p = ot.Problem{Cost: p.Cost}
	require.True(t, mat.Equal(mustSolve(t, ot.EMD{}, p).Mass(), mustSolve(t, ot.Partial{}, p).Mass()))
	near(t, mustSolve(t, ot.Sinkhorn{Reg: 0.1}, p).Mass(), mustSolve(t, ot.PartialSinkhorn{Reg: 0.1}, p).Mass(), 1e-7)
}

// The iteration does not stop where only the rows are within their bounds from the start.
func TestPartialSinkhornCaps(t *testing.T) {
	c := mat.NewDense(1, 4, []float64{0, 1, 1, 1})
	plan := mustSolve(t, ot.PartialSinkhorn{Share: 0.6, Reg: 0.1}, ot.Problem{Cost: c})
	within(t, plan, 0.6, 1e-9)
	within(t, mustSolve(t, ot.PartialSinkhorn{Share: 0.6, Reg: 0.1}, ot.Problem{Cost: c.T()}), 0.6, 1e-9)
}

func TestPartialRejects(t *testing.T) {
	p := ot.Problem{Cost: mat.NewDense(1, 2, []float64{1, 2})}
	for _, s := range []ot.Solver{
		ot.Partial{Share: -1}, ot.Partial{Share: 1.1}, ot.Partial{Share: 1e-13}, ot.Partial{Share: math.NaN()},
		ot.PartialSinkhorn{Share: 1e-300},
		ot.PartialSinkhorn{Share: 2}, ot.PartialSinkhorn{Reg: -1}, ot.PartialSinkhorn{Reg: 1e-20},
	} {
		_, err := s.Solve(context.Background(), p)
		require.ErrorIs(t, err, ot.ErrOption)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, s := range []ot.Solver{ot.Partial{Share: 0.5}, ot.PartialSinkhorn{Share: 0.5}, ot.Unbalanced{}} {
		_, err := s.Solve(context.Background(), ot.Problem{})
		require.ErrorIs(t, err, ot.ErrShape)
		_, err = s.Solve(ctx, p)
		require.ErrorIs(t, err, context.Canceled)
	}
}
