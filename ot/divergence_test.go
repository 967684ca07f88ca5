package ot_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// The divergence is zero between equal sides, not negative, and symmetric, and tends
// to the cost of the exact plan.
func TestSinkhornDivergence(t *testing.T) {
	rng := rand.New(rand.NewPCG(82, 1))
	x, y := mat.NewDense(8, 2, normals(rng, 16)), mat.NewDense(11, 2, normals(rng, 22))
	cost := func(x, y mat.Matrix) *mat.Dense {
		c, err := ot.SqEuclidean{}.Cost(ot.NewGram(x, y))
		require.NoError(t, err)
		return c
	}
	q := ot.Quadratic{
		X: cost(x, x), Y: cost(y, y), Cost: cost(x, y), A: randomMass(rng, 8), B: randomMass(rng, 11),
	}
	scaledTo(q.B, q.A)
	exact := mustSolve(t, ot.EMD{}, ot.Problem{Cost: q.Cost, A: q.A, B: q.B}).Cost(q.Cost)
	for _, reg := range []float64{0, 10, 1, 0.1, 0.01} {
		s := ot.Sinkhorn{Reg: reg, MaxIter: 10000}
		got, err := s.Divergence(t.Context(), q)
		require.NoError(t, err)
		require.Positive(t, got)
		turned, err := s.Divergence(t.Context(), ot.Quadratic{X: q.Y, Y: q.X, Cost: q.Cost.T(), A: q.B, B: q.A})
		require.NoError(t, err)
		require.InDelta(t, got, turned, 1e-7)
		if reg == 0.01 {
			require.InDelta(t, exact, got, 0.02)
		}
		same, err := s.Divergence(t.Context(), ot.Quadratic{X: q.X, Y: q.X, Cost: q.X, A: q.A, B: q.A})
		if err != nil { // alternating updates of equal sides may stall just above the tolerance
			require.ErrorAs(t, err, new(*ot.NotConvergedError))
		}
		require.InDelta(t, 0, same, 1e-5)
	}
	late, err := ot.Sinkhorn{Reg: 0.01, MaxIter: 2}.Divergence(t.Context(), q)
	require.ErrorAs(t, err, new(*ot.NotConvergedError))
	require.False(t, math.IsNaN(late))
	_, err = ot.Sinkhorn{}.Divergence(t.Context(), ot.Quadratic{X: q.X, Y: q.Y})
	require.EqualError(t, err, "ot: Cost: shapes do not fit: nil")
	_, err = ot.Sinkhorn{}.Divergence(t.Context(), ot.Quadratic{X: q.Cost, Y: q.Y, Cost: q.Cost})
	require.EqualError(t, err, "ot: X: shapes do not fit: 8 × 11")
	q.X.(*mat.Dense).Set(2, 3, 1e3)
	_, err = ot.Sinkhorn{}.Divergence(t.Context(), q)
	require.EqualError(t, err, "ot: X: shapes do not fit: not symmetric at 3, 2")
	q.X = cost(x, x)
	q.Y = mat.NewDense(11, 11, nil)
	q.Y.(*mat.Dense).Set(2, 3, -1)
	_, err = ot.Sinkhorn{}.Divergence(t.Context(), q)
	require.EqualError(t, err, "ot: Y[2,3] = -1: negative")
}

func normals(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}
