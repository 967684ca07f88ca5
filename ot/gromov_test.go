package ot_test

import (
	"context"
	"math"
	"math/rand/v2"
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
		t.Run(c.ID, func(t *testing.T) {
			q := ot.Quadratic{
				X: g.matrix(t, c, "C1"), Y: g.matrix(t, c, "C2"), A: g.input(t, c, "p"), B: g.input(t, c, "q"),
			}
			if c.Epsilon > 0 {
				goldenEntropic(t, q, c, g.matrix(t, c, "G"))
				return
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

// goldenEntropic compares with one of two references. Projected gradients (PGD) are our
// iteration. Proximal steps (PPA) lead to a plan without entropy, which conditional
// gradients from an entropic plan must reach or undercut.
func goldenEntropic(t *testing.T, q ot.Quadratic, c golden, want *mat.Dense) {
	soft, got, err := ot.EntropicGromovWasserstein{Reg: c.Epsilon}.Solve(context.Background(), q)
	require.NoError(t, err)
	within(t, soft, 1, 1e-9)
	least := fused(q, 1, want)
	if c.Solver == "PGD" {
		require.LessOrEqual(t, got, least*(1+1e-6))
		if len(c.Warnings) == 0 {
			near(t, want, soft.Mass(), 1e-8)
		}
		return
	}
	plan, got, err := ot.GromovWasserstein{Start: &soft}.Solve(context.Background(), q)
	require.NoError(t, err)
	within(t, plan, 1, 1e-12)
	require.LessOrEqual(t, got, least*(1+1e-6)+1e-12)
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
		c, err := ot.Euclidean{}.Cost(ot.NewGram(x, x))
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

// Without symmetry, with units of no mass and with sides of unequal size, the plan is a
// local optimum and better than the start.
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

// A start may be any plan of the right shape. The plan found from it has the masses of the
// problem and is not worse.
func TestGromovStart(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 2))
	for range 5 {
		q := ot.Quadratic{
			X: randomCost(rng, 8, 8), Y: randomCost(rng, 6, 6), Cost: randomCost(rng, 8, 6),
			A: randomMass(rng, 8), B: randomMass(rng, 6),
		}
		q.A[2] = 0
		scaledTo(q.B, q.A)
		total := mat.Sum(mat.NewVecDense(8, q.A))
		soft, v, err := ot.EntropicGromovWasserstein{Reg: 0.1}.Solve(context.Background(), q)
		require.NoError(t, err)
		require.InDelta(t, fused(q, 0.5, soft.Mass()), v, 1e-9)
		within(t, soft, total, 1e-8)
		plan, got, err := ot.GromovWasserstein{Start: &soft, Tol: 1e-6}.Solve(context.Background(), q)
		require.NoError(t, err)
		require.Less(t, got, v)
		within(t, plan, total, 1e-12)

		again, same, err := ot.GromovWasserstein{Start: &plan, Tol: 1e-6}.Solve(context.Background(), q)
		require.NoError(t, err)
		require.InDelta(t, got, same, 1e-12)
		near(t, plan.Mass(), again.Mass(), 1e-12)

		other := mat.NewDense(8, 6, nil)
		other.Apply(func(int, int, float64) float64 { return rng.ExpFloat64() }, other)
		start, err := ot.NewPlan(other, nil, nil)
		require.NoError(t, err)
		plan, got, err = ot.GromovWasserstein{Start: &start, MaxIter: 5000, Tol: 1e-4}.Solve(context.Background(), q)
		require.NoError(t, err)
		within(t, plan, total, 1e-12)
		require.InDelta(t, fused(q, 0.5, plan.Mass()), got, 1e-12)
		_, _, err = ot.GromovWasserstein{Start: &ot.Plan{}}.Solve(context.Background(), q)
		require.ErrorIs(t, err, ot.ErrShape)
	}
}

// The plan is a scaled kernel of the gradient at the plan itself, so every 2 × 2 minor of
// log P + ∇/ε is balanced.
func TestEntropicGromovOptimality(t *testing.T) {
	rng := rand.New(rand.NewPCG(18, 2))
	q := ot.Quadratic{
		X: randomCost(rng, 5, 5), Y: randomCost(rng, 7, 7), Cost: randomCost(rng, 5, 7), B: randomMass(rng, 7),
	}
	const alpha, reg = 0.8, 0.1
	plan, _, err := ot.EntropicGromovWasserstein{Alpha: alpha, Reg: reg, Tol: 1e-11}.Solve(context.Background(), q)
	require.NoError(t, err)
	within(t, plan, 1, 1e-10)
	p := plan.Mass()
	l := func(i, j int) float64 { // by the definition of the objective
		v := (1-alpha)*q.Cost.At(i, j) + reg*math.Log(p.At(i, j))
		for k := range 5 {
			for l := range 7 {
				d, e := q.X.At(i, k)-q.Y.At(j, l), q.X.At(k, i)-q.Y.At(l, j)
				v += alpha * (d*d + e*e) * p.At(k, l)
			}
		}
		return v
	}
	for i := 1; i < 5; i++ {
		for j := 1; j < 7; j++ {
			require.InDelta(t, 0, l(i, j)-l(0, j)-l(i, 0)+l(0, 0), 1e-8)
		}
	}
	_, _, err = ot.EntropicGromovWasserstein{Reg: 0.01, MaxIter: 1}.Solve(context.Background(), q)
	require.ErrorAs(t, err, new(*ot.NotConvergedError))
	for _, s := range []ot.EntropicGromovWasserstein{{Reg: -1}, {Reg: 1e-20}, {Alpha: -1}, {MaxIter: -1}} {
		_, _, err = s.Solve(context.Background(), q)
		require.ErrorIs(t, err, ot.ErrOption)
	}
}

// As alpha → 0 only the cost between the sides counts.
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
