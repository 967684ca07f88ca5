package ot_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

func columns(a mat.Matrix) [][]float64 {
	_, k := a.Dims()
	out := make([][]float64, k)
	for j := range out {
		out[j] = mat.Col(nil, j, a)
	}
	return out
}

// spread is the objective of Barycenter at p, computed from the plans of a solver with
// the regularisation reg.
func spread(t *testing.T, s ot.Solver, reg float64, c *mat.Dense, p []float64, all [][]float64, w []float64) float64 {
	t.Helper()
	var v float64
	for k, b := range all {
		plan := mustSolve(t, s, ot.Problem{Cost: c, A: p, B: b})
		v += w[k] * (plan.Cost(c) - reg*plan.Entropy())
	}
	return v
}

func TestGoldenBarycenter(t *testing.T) {
	g := openGoldens(t, "barycenter")
	for _, c := range g.Cases {
		if !strings.HasPrefix(c.ID, "bregman_") || len(c.Warnings) > 0 {
			continue // other problems, and a run with numerical errors
		}
		t.Run(c.ID, func(t *testing.T) {
			cost, all, w := g.matrix(t, c, "M"), columns(g.matrix(t, c, "A")), g.input(t, c, "weights")
			bar, err := ot.Barycenter{Reg: c.Reg}.Solve(context.Background(), cost, all, w)
			require.NoError(t, err)
			if !strings.HasSuffix(c.ID, "_sinkhorn") {
				require.InDeltaSlice(t, g.input(t, c, "bar"), bar, 1e-6)
				return
			}
			// With unequal weights this reference starts from potentials with
			// Σ wₖ fₖ ≠ 0, which its iteration keeps, so it ends elsewhere.
			s := ot.Sinkhorn{Reg: c.Reg}
			require.Less(t, spread(t, s, c.Reg, cost, bar, all, w), spread(t, s, c.Reg, cost, g.input(t, c, "bar"), all, w)-1e-5)
		})
	}
}

// The exact barycenter bounds what the entropic one reaches.
func TestGoldenBarycenterExact(t *testing.T) {
	g := openGoldens(t, "barycenter")
	for _, c := range g.Cases {
		if c.ID != "lp_exact" {
			continue
		}
		cost, all, w := g.matrix(t, c, "M"), columns(g.matrix(t, c, "A")), g.input(t, c, "weights")
		exact := g.input(t, c, "bar")
		for i, v := range exact {
			exact[i] = max(v, 0) // to the tolerance of a linear program
		}
		floats.Scale(1/floats.Sum(exact), exact)
		least := spread(t, ot.EMD{}, 0, cost, exact, all, w)
		bar, err := ot.Barycenter{Reg: 1e-3, Tol: 1e-6}.Solve(context.Background(), cost, all, w)
		require.NoError(t, err)
		got := spread(t, ot.EMD{}, 0, cost, bar, all, w)
		require.GreaterOrEqual(t, got, least-1e-6)
		require.InDelta(t, least, got, 5e-3)
		return
	}
	t.Error("no exact case")
}

// line is the squared distance between points on a line of length 1.
func line(n int) *mat.Dense {
	c := mat.NewDense(n, n, nil)
	c.Apply(func(i, j int, _ float64) float64 { d := float64(i-j) / float64(n-1); return d * d }, c)
	return c
}

func TestBarycenterMovesMass(t *testing.T) {
	const n = 41
	bump := func(at float64) []float64 {
		w := make([]float64, n)
		for i := range w {
			d := float64(i) - at
			w[i] = math.Exp(-d * d / 8)
		}
		return w
	}
	for _, c := range []struct{ w, at float64 }{{0.5, 20}, {0.75, 15}, {1, 10}} {
		bumps, weights := [][]float64{bump(10), bump(30)}, []float64{c.w, 1 - c.w}
		bar, err := ot.Barycenter{Reg: 2e-3, Tol: 1e-6}.Solve(context.Background(), line(n), bumps, weights)
		require.NoError(t, err)
		var mean, total float64
		for i, v := range bar {
			total += v
			mean += v * float64(i)
		}
		require.InDelta(t, 1, total, 1e-12)
		require.InDelta(t, c.at, mean, 0.1)
	}
}

func TestBarycenterRejects(t *testing.T) {
	c, ok := line(3), [][]float64{{1, 0, 0}, {0, 0, 2}}
	solve := func(s ot.Barycenter, b [][]float64, w []float64) error {
		_, err := s.Solve(context.Background(), c, b, w)
		return err
	}
	require.ErrorIs(t, solve(ot.Barycenter{}, nil, nil), ot.ErrShape)
	require.ErrorIs(t, solve(ot.Barycenter{}, ok, []float64{1}), ot.ErrShape)
	require.ErrorIs(t, solve(ot.Barycenter{}, ok, []float64{1, -1}), ot.ErrNegative)
	require.ErrorIs(t, solve(ot.Barycenter{}, [][]float64{{1, 0}}, nil), ot.ErrShape)
	require.ErrorIs(t, solve(ot.Barycenter{}, [][]float64{{0, 0, 0}}, nil), ot.ErrEmpty)
	require.ErrorIs(t, solve(ot.Barycenter{Reg: -1}, ok, nil), ot.ErrOption)
	require.ErrorIs(t, solve(ot.Barycenter{Reg: 1e-20}, ok, nil), ot.ErrOption)
	require.ErrorAs(t, solve(ot.Barycenter{Reg: 1e-2, MaxIter: 1}, ok, nil), new(*ot.NotConvergedError))
	require.NoError(t, solve(ot.Barycenter{Reg: 1e-4}, ok, nil))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := ot.Barycenter{}.Solve(ctx, c, ok, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// The potentials of a result give plans between the barycenter and the masses.
func TestBarycenterResult(t *testing.T) {
	rng := rand.New(rand.NewPCG(67, 1))
	const n, m = 6, 5
	cost := randomCost(rng, n, m)
	all := [][]float64{randomMass(rng, m), randomMass(rng, m), randomMass(rng, m)}
	all[0][1] = 0
	weights := []float64{1, 0, 3}
	s := ot.Barycenter{Reg: 0.05, Tol: 1e-12}
	r, err := s.SolveResult(t.Context(), cost, all, weights)
	require.NoError(t, err)
	p, err := s.Solve(t.Context(), cost, all, weights)
	require.NoError(t, err)
	require.Equal(t, p, r.Masses)
	require.InDelta(t, 0.05, r.Reg, 0)
	require.Nil(t, r.Duals[1].U)
	var objective, regularised float64
	for k, share := range []float64{0.25, 0, 0.75} {
		if share == 0 {
			continue
		}
		scaledTo(all[k], p)
		plan, err := ot.Sinkhorn{Reg: 0.05, Tol: 1e-12}.SolveResult(t.Context(), ot.Problem{Cost: cost, A: p, B: all[k]})
		require.NoError(t, err)
		objective += share * plan.Objective
		regularised += share * plan.Regularised
		for i, u := range r.Duals[k].U {
			for j, v := range r.Duals[k].V {
				got := math.Exp((u + v - cost.At(i, j)) / 0.05)
				require.InDelta(t, got, plan.Plan.Mass().At(i, j), 1e-9)
			}
		}
	}
	require.InDelta(t, objective, r.Objective, 1e-9)
	require.InDelta(t, regularised, r.Regularised, 1e-9)
	require.LessOrEqual(t, r.Residual, 1e-12)

	// Any start leads to the same masses, and that of the solution at once.
	for _, f := range []float64{1, 0.99, 0, -3, 1e20} {
		warm := s
		for _, d := range r.Duals {
			u := append([]float64(nil), d.U...)
			floats.Scale(f, u)
			warm.Start = append(warm.Start, ot.Duals{U: u})
		}
		got, err := warm.SolveResult(t.Context(), cost, all, weights)
		require.NoError(t, err)
		require.InDeltaSlice(t, p, got.Masses, 1e-9)
		if f == 1 {
			require.LessOrEqual(t, got.Iterations, 2)
			require.Greater(t, r.Iterations, 2)
		}
	}
	for _, c := range []struct {
		start []ot.Duals
		want  error
	}{
		{[]ot.Duals{}, ot.ErrShape}, {make([]ot.Duals, 3), ot.ErrShape},
		{[]ot.Duals{{U: make([]float64, n)}, {}, {U: []float64{0, math.NaN(), 0, 0, 0, 0}}}, ot.ErrNotFinite},
	} {
		_, err := ot.Barycenter{Start: c.start}.Solve(t.Context(), cost, all, weights)
		require.ErrorIs(t, err, c.want)
	}

	s.MaxIter = 3
	r, err = s.SolveResult(t.Context(), cost, all, weights)
	var late *ot.NotConvergedError
	require.ErrorAs(t, err, &late)
	require.Equal(t, 3, r.Iterations)
	require.Equal(t, late.Residual, r.Residual)
	r, err = s.SolveResult(t.Context(), cost, nil, nil)
	require.ErrorIs(t, err, ot.ErrShape)
	require.Nil(t, r.Masses)
}
