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

// fused is the objective of GromovWasserstein by its definition.
func fused(q ot.Quadratic, alpha float64, p mat.Matrix) float64 {
	n, m := p.Dims()
	var v float64
	for i := range n {
		for j := range m {
			if q.Cost != nil {
				v += (1 - alpha) * q.Cost.At(i, j) * p.At(i, j)
			}
			for k := range n {
				for l := range m {
					d := q.X.At(i, k) - q.Y.At(j, l)
					v += alpha * d * d * p.At(i, j) * p.At(k, l)
				}
			}
		}
	}
	return v
}

func TestGoldenGromov(t *testing.T) {
	g := openGoldens(t, "gromov")
	for _, c := range g.Cases {
		if strings.Contains(c.ID, "entropic") {
			continue // regularised: not solved here
		}
		t.Run(c.ID, func(t *testing.T) {
			q := ot.Quadratic{
				X: g.matrix(t, c, "C1"), Y: g.matrix(t, c, "C2"), A: g.input(t, c, "p"), B: g.input(t, c, "q"),
			}
			alpha := 1.0
			if c.Alpha > 0 {
				alpha, q.Cost = c.Alpha, g.matrix(t, c, "M")
			}
			plan, got, err := ot.GromovWasserstein{Alpha: c.Alpha}.Solve(context.Background(), q)
			require.NoError(t, err)
			require.InDelta(t, fused(q, alpha, plan.Mass()), got, 1e-12)
			within(t, plan, 1, 1e-12)
			want := fused(q, alpha, g.matrix(t, c, "G"))
			require.LessOrEqual(t, got, want+1e-6*math.Abs(want)+1e-12)
		})
	}
}

func TestGromovFindsIsometry(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 1))
	x := mat.NewDense(15, 3, nil)
	x.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, x)
	y, perm := mat.NewDense(15, 3, nil), rng.Perm(15)
	for j, i := range perm { // a reflection, and other numbers
		y.SetRow(j, []float64{-x.At(i, 1), x.At(i, 0), x.At(i, 2) + 5})
	}
	dist := func(x *mat.Dense) *mat.Dense {
		c, err := ot.Euclidean{}.Cost(ot.Rows(x, x))
		require.NoError(t, err)
		return c
	}
	plan, v, err := ot.GromovWasserstein{}.Solve(context.Background(), ot.Quadratic{X: dist(x), Y: dist(y)})
	require.NoError(t, err)
	require.InDelta(t, 0, v, 1e-9)
	got, ok := plan.Permutation()
	require.True(t, ok)
	require.Equal(t, perm, got)
}

// Without symmetry, with empty units and unequal sides: a local optimum, and
// at least as good as the start.
func TestGromovDescends(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 1))
	random := func(n, m int) *mat.Dense {
		d := mat.NewDense(n, m, nil)
		d.Apply(func(int, int, float64) float64 { return rng.Float64() }, d)
		return d
	}
	for range 5 {
		q := ot.Quadratic{X: random(6, 6), Y: random(5, 5), Cost: random(6, 5), A: randomMass(rng, 6), B: randomMass(rng, 5)}
		q.B[1] += q.B[0]
		q.B[0] = 0
		var start mat.Dense
		start.Outer(1, mat.NewVecDense(6, q.A), mat.NewVecDense(5, q.B))
		plan, got, err := ot.GromovWasserstein{Alpha: 0.7, MaxIter: 20000, Tol: 1e-7}.Solve(context.Background(), q)
		require.NoError(t, err)
		within(t, plan, 1, 1e-12)
		require.InDelta(t, fused(q, 0.7, plan.Mass()), got, 1e-12)
		require.Less(t, got, fused(q, 0.7, &start))
		// Exchanging a little mass on any two rows and columns does not help.
		for range 200 {
			i, k, j, l := rng.IntN(6), rng.IntN(6), 1+rng.IntN(4), 1+rng.IntN(4)
			p := mat.DenseCopyOf(plan.Mass())
			d := min(1e-4, p.At(i, j), p.At(k, l))
			for _, e := range []struct {
				i, j int
				d    float64
			}{{i, j, -d}, {k, l, -d}, {i, l, d}, {k, j, d}} {
				p.Set(e.i, e.j, p.At(e.i, e.j)+e.d)
			}
			require.GreaterOrEqual(t, fused(q, 0.7, p), got-1e-7)
		}
	}
}

// Only the cost across counts as alpha → 0.
func TestGromovTendsToEMD(t *testing.T) {
	rng := rand.New(rand.NewPCG(16, 1))
	q := ot.Quadratic{X: line(5), Y: line(5), Cost: randomCost(rng, 5, 5)}
	plan, _, err := ot.GromovWasserstein{Alpha: 1e-9}.Solve(context.Background(), q)
	require.NoError(t, err)
	near(t, mustSolve(t, ot.EMD{}, ot.Problem{Cost: q.Cost}).Mass(), plan.Mass(), 1e-12)
}

func TestGromovRejects(t *testing.T) {
	ok := line(3)
	nan := mat.NewDense(3, 3, nil)
	nan.Set(1, 2, math.NaN())
	for _, c := range []struct {
		s    ot.GromovWasserstein
		q    ot.Quadratic
		want error
	}{
		{q: ot.Quadratic{}, want: ot.ErrShape},
		{q: ot.Quadratic{X: ok, Y: mat.NewDense(2, 3, nil)}, want: ot.ErrShape},
		{q: ot.Quadratic{X: ok, Y: ok, Cost: mat.NewDense(2, 3, nil)}, want: ot.ErrShape},
		{q: ot.Quadratic{X: ok, Y: nan}, want: ot.ErrNotFinite},
		{q: ot.Quadratic{X: ok, Y: ok, A: []float64{1, 1, 1}}, want: ot.ErrUnbalanced},
		{s: ot.GromovWasserstein{Alpha: 2}, q: ot.Quadratic{X: ok, Y: ok}, want: ot.ErrOption},
		{s: ot.GromovWasserstein{Tol: -1}, q: ot.Quadratic{X: ok, Y: ok}, want: ot.ErrOption},
	} {
		plan, _, err := c.s.Solve(context.Background(), c.q)
		require.ErrorIs(t, err, c.want)
		require.True(t, plan.IsIdentity())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := ot.GromovWasserstein{}.Solve(ctx, ot.Quadratic{X: ok, Y: ok})
	require.ErrorIs(t, err, context.Canceled)
}
