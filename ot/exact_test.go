package ot_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// Two cheap ways, one of them better; the rest is forbidden by a large cost.
func TestEMDForbidden(t *testing.T) {
	for exponent := 6; exponent < 309; exponent++ {
		big := math.Pow(10, float64(exponent))
		p := ot.Problem{
			Cost: mat.NewDense(3, 4, []float64{0.3, big, 0.1, 0.7, 0.2, 0.6, big, 0.4, big, 0.5, 0.9, 0.8}),
			A:    []float64{.5, .3, .2}, B: []float64{.4, .3, .2, .1},
		}
		plan, duals, err := ot.EMD{}.SolveDual(t.Context(), p)
		require.NoError(t, err)
		require.InDelta(t, 0.33, plan.Cost(p.Cost), 1e-9)
		c, err := ot.Certify(p, plan, duals)
		require.NoError(t, err)
		require.InDelta(t, 0, c.Infeasible, 1e-9)
		require.InDelta(t, 0, c.Gap, 1e-9)
		require.InDelta(t, 0, c.Violation, 1e-12)
	}
}

// Whatever is forbidden, and by how much, the plan has the cost that it has with a
// modest number in its place, or an error says that it may not.
func TestEMDForbiddenAtRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 1))
	for k := range max(300, *sweep) {
		n, m := 2+rng.IntN(7), 2+rng.IntN(7)
		if k%3 == 0 {
			m = n
		}
		modest, big := randomCost(rng, n, m), randomCost(rng, n, m)
		large := math.Pow(10, 6+26*rng.Float64())
		keep := rng.Perm(max(n, m))
		for i := range n {
			for j := range m {
				big.Set(i, j, modest.At(i, j))
				if (keep[i]-j)%min(n, m) != 0 && rng.IntN(3) == 0 {
					modest.Set(i, j, 1e4)
					big.Set(i, j, large)
				}
			}
		}
		p := ot.Problem{Cost: modest}
		if k%2 == 0 && k%3 != 0 {
			p.A, p.B = randomMass(rng, n), randomMass(rng, m)
		}
		want := certify(t, p)
		if want.Cost(modest) > 1 {
			continue // the optimum needs what is forbidden
		}
		p.Cost = big
		got, err := ot.EMD{}.Solve(t.Context(), p)
		require.NoError(t, err)
		require.InEpsilon(t, 1+want.Cost(modest), 1+got.Cost(big), 1e-9, "%d × %d, %g", n, m, large)
		part, err := ot.Partial{Share: 0.9}.Solve(t.Context(), p)
		require.NoError(t, err)
		require.LessOrEqual(t, part.Cost(big), got.Cost(big)+1e-9)
	}
}

// Where the optimum needs a cost that hides all others, it is optimal to the
// rounding of its own cost.
func TestEMDNeedsLargeCosts(t *testing.T) {
	rng := rand.New(rand.NewPCG(72, 1))
	for range 100 {
		c := randomCost(rng, 5, 6)
		for j := range 6 {
			c.Set(2, j, 1e20*(1+rng.Float64()))
		}
		p := ot.Problem{Cost: c, A: randomMass(rng, 5), B: randomMass(rng, 6)}
		plan, duals, err := ot.EMD{}.SolveDual(t.Context(), p)
		if late, ok := errors.AsType[*ot.NotConvergedError](err); ok {
			require.Greater(t, late.Residual, 1e-9)
			continue
		}
		require.NoError(t, err)
		cert, err := ot.Certify(p, plan, duals)
		require.NoError(t, err)
		require.InDelta(t, 0, cert.Gap/cert.Primal, 1e-9)
	}
}

func TestEMDNegativeCosts(t *testing.T) {
	rng := rand.New(rand.NewPCG(73, 1))
	for _, d := range [][2]int{{1, 1}, {6, 6}, {5, 9}, {40, 40}} {
		n, m := d[0], d[1]
		c := mat.NewDense(n, m, nil)
		c.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, c)
		a := randomMass(rng, n)
		if n > 1 {
			a[1] = 0
		}
		b := randomMass(rng, m)
		scaledTo(b, a)
		for _, p := range []ot.Problem{{Cost: c}, {Cost: c, A: a, B: b}} {
			plan, duals, err := ot.EMD{}.SolveDual(t.Context(), p)
			require.NoError(t, err)
			cert, err := ot.Certify(p, plan, duals)
			require.NoError(t, err)
			require.InDelta(t, 0, cert.Gap, 1e-12)
			require.InDelta(t, 0, cert.Infeasible, 1e-12)
			raised := mat.DenseCopyOf(c)
			raised.Apply(func(_, _ int, v float64) float64 { return v - mat.Min(c) }, raised)
			p.Cost = raised
			near(t, mustSolve(t, ot.EMD{}, p).Mass(), plan.Mass(), 0)
			half := mustSolve(t, ot.Partial{Share: 0.5}, p)
			p.Cost = c
			near(t, half.Mass(), mustSolve(t, ot.Partial{Share: 0.5}, p).Mass(), 0)
		}
	}
	wide := mat.NewDense(1, 2, []float64{-math.MaxFloat64, math.MaxFloat64})
	_, err := ot.EMD{}.Solve(t.Context(), ot.Problem{Cost: wide})
	require.ErrorIs(t, err, ot.ErrNotFinite)
	wide.Set(0, 1, math.NaN())
	_, err = ot.EMD{}.Solve(t.Context(), ot.Problem{Cost: wide})
	require.EqualError(t, err, "ot: Cost[0,1] = NaN: not a finite number")
}

// Of several optimal plans EMD takes the identity where it is one of them.
func TestEMDPrefersTheIdentity(t *testing.T) {
	rng := rand.New(rand.NewPCG(74, 1))
	sign := mat.NewDense(12, 12, nil)
	signs := make([]float64, 12)
	for i := range signs {
		signs[i] = float64(2*rng.IntN(2) - 1)
	}
	sign.Apply(func(i, j int, _ float64) float64 { return math.Abs(signs[i] - signs[j]) }, sign)
	ones, third := mat.NewDense(5, 5, nil), mat.NewDense(12, 12, nil)
	ones.Apply(func(int, int, float64) float64 { return 1 }, ones)
	third.Apply(func(int, int, float64) float64 { return 1. / 3 }, third)
	for _, c := range []*mat.Dense{ones, mat.NewDense(8, 8, nil), sign, third} {
		n, _ := c.Dims()
		single := ot.DenseFloat32{N: n, M: n, Data: make([]float32, n*n)}
		for k := range single.Data {
			single.Data[k] = float32(c.At(k/n, k%n))
		}
		masses := randomMass(rng, n)
		masses[1] = 0
		for _, p := range []ot.Problem{{Cost: c}, {Cost: single}, {Cost: c, A: masses, B: masses}} {
			plan, duals, err := ot.EMD{}.SolveDual(t.Context(), p)
			require.NoError(t, err)
			require.InDelta(t, 1, plan.Diagonal(), 1e-15)
			cert, err := ot.Certify(p, plan, duals)
			require.NoError(t, err)
			require.InDelta(t, 0, cert.Gap, 1e-12)
			require.InDelta(t, 0, cert.Violation, 1e-12)
		}
	}
	// Not where another plan is cheaper, however little.
	c := mat.NewDense(2, 2, []float64{1, 1, 1 - 1e-9, 1})
	c.Set(0, 1, 1-1e-9)
	require.Zero(t, mustSolve(t, ot.EMD{}, ot.Problem{Cost: c}).Diagonal())
}
