package ot

import (
	"cmp"
	"errors"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"
)

// tiedRow returns costs and potentials of n columns, of which many are alike where levels
// is small.
func tiedRow(rng *rand.Rand, n, levels int) (cost, v []float64, single []float32) {
	cost, v, single = make([]float64, n), make([]float64, n), make([]float32, n)
	for j := range cost {
		cost[j], v[j] = float64(rng.IntN(levels))/16, -float64(rng.IntN(levels))/16
		single[j] = float32(cost[j])
	}
	return cost, v, single
}

func TestClosestColumns(t *testing.T) {
	rng := rand.New(rand.NewPCG(44, 1))
	for _, n := range append(lengths[1:], 64, 127, 128, 200) {
		for _, levels := range []int{1, 3, 1000} {
			cost, v, single := tiedRow(rng, n, levels)
			from := rng.IntN(n)
			all := make([]neighbour, n)
			for k := range all {
				j := (from + k) % n
				all[k] = neighbour{cost[j] - v[j], int32(j)}
			}
			slices.SortStableFunc(all, func(x, y neighbour) int { return cmp.Compare(x.d, y.d) })
			for _, size := range []int{min(n, 6), min(n, 8), min(n, 9)} {
				search := newRowSearch(size, n)
				require.Equal(t, all[:size], closestColumns(search, cost, v, from), "n %d, levels %d", n, levels)
				require.Equal(t, all[:size], closestColumns(search, single, v, from), "n %d, levels %d", n, levels)
			}
		}
	}
}

func TestLeastTwo(t *testing.T) {
	rng := rand.New(rand.NewPCG(45, 1))
	for _, n := range []int{2, 3, 7, 8} {
		for _, levels := range []int{1, 2, 4, 1000} {
			for range 50 {
				cost, v, single := tiedRow(rng, 20, levels)
				columns, costs, singles := make([]int32, n), make([]float64, n), make([]float32, n)
				d := make([]float64, n)
				for k, j := range rng.Perm(20)[:n] {
					columns[k], costs[k], singles[k], d[k] = int32(j), cost[j], single[j], cost[j]-v[j]
				}
				sorted := slices.Sorted(slices.Values(d))
				check := func(d1, d2 float64, first, second uint64) {
					require.InDeltaSlice(t, []float64{d1, d2}, sorted[:2], 0)
					require.NotZero(t, first)
					require.Equal(t, d1 == d2, second == 0)
					for k := range d {
						require.Equal(t, d[k] == d1, first>>k&1 == 1)
						if second != 0 {
							require.Equal(t, d[k] == d2, second>>k&1 == 1)
						}
					}
					require.LessOrEqual(t, bits.Len64(first|second), n)
				}
				check(leastTwo(costs, columns, v))
				check(leastTwo(singles, columns, v))
			}
		}
	}
}

func TestLowerTo(t *testing.T) {
	rng := rand.New(rand.NewPCG(46, 1))
	for _, n := range append(lengths[1:], 32, 64, 96, 127) {
		low, _, _ := tiedRow(rng, n, 100)
		row, _, single := tiedRow(rng, n, 100)
		want, lowSingle := make([]float64, n), make([]float32, n)
		lower := func() (float64, float64) {
			for j := range row {
				want[j], lowSingle[j] = min(low[j], row[j]), float32(low[j])
				single[j] = float32(row[j])
			}
			return lowerTo(low, row), lowerTo(lowSingle, single)
		}
		top, topSingle := lower()
		require.Equal(t, want, low)
		require.Equal(t, want, toFloat64(lowSingle))
		require.Equal(t, slices.Max(row), top)
		require.Equal(t, slices.Max(row), topSingle)

		k := rng.IntN(n)
		before := row[k]
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			row[k] = bad
			top, topSingle := lower()
			require.True(t, math.IsInf(top, 1), "%g", bad)
			require.True(t, math.IsInf(topSingle, 1), "%g", bad)
			low[k] = before
		}
		row[k] = -1e-30
		top, topSingle = lower()
		require.Less(t, max(top, topSingle), math.Inf(1))
		require.Negative(t, low[k])
		require.Negative(t, lowSingle[k])

		single[k], row[k] = math.MaxFloat32, math.MaxFloat64
		require.Equal(t, math.MaxFloat64, lowerTo(low, row))
		require.Equal(t, math.MaxFloat32, lowerTo(lowSingle, single))
	}
}

// TestReadCosts finds the first entry that is no cost, wherever it is; −0 is one.
func TestReadCosts(t *testing.T) {
	rng := rand.New(rand.NewPCG(47, 1))
	const n, m = 5, 70
	for k := range n * m {
		cost, single := make([]float64, n*m), make([]float32, n*m)
		for i := range cost {
			cost[i] = float64(1 + rng.IntN(9))
			single[i] = float32(cost[i])
		}
		check := func(want error) {
			t.Helper()
			_, _, err := readCosts(t.Context(), cost, m)
			_, _, errSingle := readCosts(t.Context(), single, m)
			if want == nil {
				require.NoError(t, errors.Join(err, errSingle))
				return
			}
			for _, err := range []error{err, errSingle} {
				var invalid *InvalidError
				require.ErrorAs(t, err, &invalid)
				require.ErrorIs(t, err, want)
				require.Equal(t, []int{k / m, k % m}, []int{invalid.Row, invalid.Col})
			}
		}
		check(nil)
		for _, v := range []float64{math.Copysign(0, -1), -1e-30, math.NaN(), math.Inf(1), math.Inf(-1)} {
			cost[k], single[k] = v, float32(v)
			switch {
			case v == 0:
				check(nil)
			case v < 0 && !math.IsInf(v, 0):
				check(ErrNegative)
			default:
				check(ErrNotFinite)
			}
		}
	}
}

// TestWideAssignment proves assignments optimal that are wide enough for whole rows to be
// read in vectors, with few and with many ties.
func TestWideAssignment(t *testing.T) {
	rng := rand.New(rand.NewPCG(48, 1))
	for _, n := range []int{64, 70, 200} {
		for _, levels := range []int{2, 8, 64, 1 << 20} {
			single := DenseFloat32{N: n, M: n, Data: make([]float32, n*n)}
			for k := range single.Data {
				single.Data[k] = float32(rng.IntN(levels)) / float32(levels)
			}
			for _, cost := range []mat.Matrix{single, mat.DenseCopyOf(single)} {
				p := Problem{Cost: cost}
				plan, duals, err := EMD{}.SolveDual(t.Context(), p)
				require.NoError(t, err)
				proof, err := Certify(p, plan, duals)
				require.NoError(t, err)
				require.InDelta(t, 0, proof.Gap, 1e-12)
				require.LessOrEqual(t, max(proof.Infeasible, proof.Violation), 1e-12)
			}
		}
	}
}
