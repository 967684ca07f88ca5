package ot

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func normals(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// Every length there is a tail for, and one long row.
var lengths = []int{0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 40, 63, 65, 1000}

func TestExpRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 1))
	for _, n := range lengths {
		for _, scale := range []float64{1e-9, 1, 100, 1000} {
			cost, g, sums := normals(rng, n), normals(rng, n), make([]float64, n)
			dst, f := make([]float64, n), rng.NormFloat64()
			for range 2 {
				expRow(dst, cost, g, sums, f, scale)
			}
			for j := range n {
				x := min((f+g[j]-cost[j])*scale, maxExponent)
				want := 0.0
				if x > minExponent {
					want = math.Exp(x)
				}
				require.InDelta(t, want, dst[j], 4e-16*want, "exp(%g)", x)
				require.Equal(t, 2*dst[j], sums[j])
			}
		}
	}
}

func TestDotAndAxpy(t *testing.T) {
	rng := rand.New(rand.NewPCG(42, 1))
	for _, n := range lengths {
		x, y := normals(rng, n), normals(rng, n)
		var want, size float64
		for j := range x {
			want += x[j] * y[j]
			size += math.Abs(x[j] * y[j])
		}
		require.InDelta(t, want, dot(x, y), 1e-15*size)
		z := append([]float64(nil), y...)
		axpy(0.3, x, z)
		for j := range z {
			require.InDelta(t, y[j]+0.3*x[j], z[j], 4e-16*(math.Abs(y[j])+math.Abs(x[j])))
		}
	}
}

// Ties, too: the first of the least.
func TestLeast(t *testing.T) {
	rng := rand.New(rand.NewPCG(43, 1))
	for _, n := range lengths {
		for range 50 {
			cost, v := make([]float64, n), make([]float64, n)
			for j := range cost {
				cost[j], v[j] = float64(rng.IntN(4)), -float64(rng.IntN(3))
			}
			want, first := math.Inf(1), none
			for j, c := range cost {
				if d := c - v[j]; d < want {
					want, first = d, j
				}
			}
			d, at := leastReducedCost(cost, v)
			require.Equal(t, want, d)
			require.Equal(t, first, at)
		}
	}
}
