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

func kl(x, y float64) float64 {
	if x == 0 {
		return y
	}
	return x*math.Log(x/y) - x + y
}

// unbalancedCost is the objective of Unbalanced.
func unbalancedCost(s ot.Unbalanced, p ot.Problem, mass mat.Matrix) float64 {
	n, m := mass.Dims()
	rows, cols := make([]float64, n), make([]float64, m)
	var v float64
	for i := range n {
		for j := range m {
			x, r := mass.At(i, j), p.A[i]*p.B[j]
			if s.Prior == (ot.PriorCounting{}) {
				r = 1
			}
			v += x*p.Cost.At(i, j) + s.Reg*kl(x, r)
			rows[i] += x
			cols[j] += x
		}
	}
	for i, x := range rows {
		v += s.Penalty * kl(x, p.A[i])
	}
	target := s.TargetPenalty
	if target == 0 {
		target = s.Penalty
	}
	for j, x := range cols {
		v += target * kl(x, p.B[j])
	}
	return v
}

func TestGoldenUnbalanced(t *testing.T) {
	g := openGoldens(t, "unbalanced")
	for _, c := range g.Cases {
		if strings.Contains(c.ID, "_mm_") {
			continue // without entropy, or with other penalties: not solved here
		}
		t.Run(c.ID, func(t *testing.T) {
			p := g.problem(t, c)
			s := ot.Unbalanced{Reg: c.Reg, Penalty: c.RegM, Tol: 1e-12}
			if c.RegType == "entropy" {
				s.Prior = ot.PriorCounting{}
			}
			plan := mustSolve(t, s, p)
			want := g.matrix(t, c, "G")
			near(t, want, plan.Mass(), 1e-6)
			least := unbalancedCost(s, p, want)
			require.InDelta(t, least, unbalancedCost(s, p, plan.Mass()), 1e-8*math.Abs(least))
		})
	}
}

func TestUnbalanced(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 1))
	p := ot.Problem{Cost: randomCost(rng, 9, 7), A: randomMass(rng, 9), B: randomMass(rng, 7)}
	p.A[3], p.B[2] = 0, 0.4
	for _, prior := range []ot.Prior{nil, ot.PriorProduct{}, ot.PriorCounting{}} {
		for _, reg := range []float64{1, 0.05, 1e-3} {
			s := ot.Unbalanced{Reg: reg, Penalty: 0.5, Prior: prior, MaxIter: 100000}
			plan := mustSolve(t, s, p)
			best := unbalancedCost(s, p, plan.Mass())
			// No nearby plan is better.
			for range 20 {
				near := mat.DenseCopyOf(plan.Mass())
				near.Apply(func(_, _ int, v float64) float64 { return v * math.Exp(0.01*rng.NormFloat64()) }, near)
				require.GreaterOrEqual(t, unbalancedCost(s, p, near), best-1e-12)
			}
			for j := range 7 {
				require.Zero(t, plan.Mass().At(3, j))
			}
		}
	}
}

// A heavy penalty binds the marginals.
func TestUnbalancedTendsToSinkhorn(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	p := ot.Problem{Cost: randomCost(rng, 6, 8)}
	want := mustSolve(t, ot.Sinkhorn{Reg: 0.1}, p)
	for _, prior := range []ot.Prior{ot.PriorProduct{}, ot.PriorCounting{}} {
		got := mustSolve(t, ot.Unbalanced{Reg: 0.1, Penalty: 1e3, Prior: prior}, p)
		near(t, want.Mass(), got.Mass(), 1e-4)
	}
}

func TestUnbalancedRejects(t *testing.T) {
	p := ot.Problem{Cost: mat.NewDense(1, 2, []float64{1, 2})}
	for _, s := range []ot.Unbalanced{
		{Penalty: -1}, {Penalty: math.NaN()}, {Reg: math.Inf(1)}, {Tol: -1}, {MaxIter: -1}, {Reg: 1e-20},
	} {
		_, err := s.Solve(context.Background(), p)
		require.ErrorIs(t, err, ot.ErrOption)
	}
	_, err := ot.Unbalanced{Reg: 1e-4, Penalty: 1e-4}.Solve(context.Background(), p)
	require.ErrorIs(t, err, ot.ErrEmpty)
	_, err = ot.Unbalanced{}.Solve(context.Background(), ot.Problem{Cost: p.Cost, B: []float64{1, -1}})
	require.ErrorIs(t, err, ot.ErrNegative)
	plan, err := ot.Unbalanced{Reg: 1e-2, MaxIter: 1}.Solve(context.Background(), p)
	require.ErrorAs(t, err, new(*ot.NotConvergedError))
	require.False(t, plan.IsIdentity())
}
