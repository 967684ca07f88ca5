package ot_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// exactPlans are plans that store few entries: of an assignment, of a rectangular
// problem, of units without mass, of a share of the mass, of points on a line and of a
// permutation.
func exactPlans(t *testing.T) map[string]ot.Plan {
	t.Helper()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float64 {
		x := make([]float64, n)
		for k := range x {
			x[k] = r.Float64()
		}
		return x
	}
	solve := func(s ot.Solver, p ot.Problem) ot.Plan {
		plan, err := s.Solve(ctx, p)
		require.NoError(t, err)
		return plan
	}
	square := mat.NewDense(9, 9, random(81))
	plans := map[string]ot.Plan{
		"assignment":  solve(ot.EMD{}, ot.Problem{Cost: square}),
		"rectangular": solve(ot.EMD{}, ot.Problem{Cost: mat.NewDense(4, 7, random(28))}),
		"empty units": solve(ot.EMD{}, ot.Problem{
			Cost: mat.NewDense(3, 4, random(12)), A: []float64{0, 0.25, 0.75}, B: []float64{0.5, 0, 0.25, 0.25},
		}),
		"share": solve(ot.Partial{Share: 0.5}, ot.Problem{Cost: square}),
	}
	var err error
	plans["line"], _, err = ot.Line{X: random(6), Y: random(8)}.Solve()
	require.NoError(t, err)
	plans["permutation"], err = ot.PermutationPlan([]int{2, 0, 3, 1})
	require.NoError(t, err)
	return plans
}

// A plan that stores few entries reads like the plan that stores all of them.
func TestSparsePlan(t *testing.T) {
	for name, few := range exactPlans(t) {
		t.Run(name, func(t *testing.T) {
			n, m := few.Dims()
			a, b := few.Marginals()
			all, err := ot.NewPlan(mat.DenseCopyOf(few.Mass()), a, b)
			require.NoError(t, err)
			assert.Equal(t, n*m, all.Entries())
			assert.LessOrEqual(t, few.Entries(), n+m-1)

			cost := mat.NewDense(n, m, nil)
			cost.Apply(func(i, j int, _ float64) float64 { return float64(1 + 3*i + j*j) }, cost)
			points := mat.NewDense(m, 2, nil)
			points.Apply(func(i, j int, _ float64) float64 { return float64(i - j) }, points)
			assert.Equal(t, all.Push(), few.Push())
			assert.Equal(t, all.Pull(), few.Pull())
			assert.Equal(t, all.Cost(cost), few.Cost(cost))
			assert.Equal(t, all.Entropy(), few.Entropy())
			assert.Equal(t, all.Diagonal(), few.Diagonal())
			assert.Equal(t, all.String(), few.String())
			wantPoints, err := all.Project(points)
			require.NoError(t, err)
			gotPoints, err := few.Project(points)
			require.NoError(t, err)
			assert.Equal(t, wantPoints, gotPoints)
			wantPerm, want := all.Permutation()
			gotPerm, got := few.Permutation()
			assert.Equal(t, want, got)
			assert.Equal(t, wantPerm, gotPerm)

			for i := -1; i <= n; i++ {
				assert.Equal(t, entriesOfRow(all, i), entriesOfRow(few, i), "row %d", i)
			}
			rows, ok := few.Mass().(mat.RowNonZeroDoer)
			require.True(t, ok)
			for i := range n {
				found := map[int]float64{}
				rows.DoRowNonZero(i, func(_, j int, v float64) { found[j] = v })
				assert.Equal(t, entriesOfRow(all, i), found)
			}
			assert.Panics(t, func() { few.Mass().At(n, 0) })
			assert.Panics(t, func() { few.Mass().At(0, m) })
		})
	}
}

// entriesOfRow collects the entries of row i, and stops before the last of them to see
// that a loop may end early.
func entriesOfRow(p ot.Plan, i int) map[int]float64 {
	found, last := map[int]float64{}, -1
	for j, v := range p.Row(i) {
		if j <= last || v <= 0 {
			return nil
		}
		found[j], last = v, j
	}
	for range p.Row(i) {
		break
	}
	return found
}

// Exact plans of float32 costs need little memory beside the costs, whatever the masses.
func TestExactMemory(t *testing.T) {
	const n = 2048
	for name, m := range map[string]int{"assignment": n, "rectangular": n + n/2} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			cost := ot.DenseFloat32{N: n, M: m, Data: make([]float32, n*m)}
			for k := range cost.Data {
				cost.Data[k] = r.Float32()
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			plan, err := ot.EMD{}.Solve(context.Background(), ot.Problem{Cost: cost})
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			assert.LessOrEqual(t, plan.Entries(), n+m-1)
			_, ok := plan.Permutation()
			assert.Equal(t, m == n, ok)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4*n*m/10), "bytes beside the costs")
		})
	}
}

// Costs of float32 give the plans of the same costs in float64: masses of any kind, units
// without mass, and costs of many orders of magnitude.
func TestExactFloat32(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, size := range [][2]int{{1, 1}, {3, 3}, {40, 40}, {40, 70}, {90, 64}} {
		n, m := size[0], size[1]
		for name, change := range map[string]func(p *ot.Problem, single []float32){
			"uniform": func(*ot.Problem, []float32) {},
			"masses":  func(p *ot.Problem, _ []float32) { p.A, p.B = even(r, n), even(r, m) },
			"empty": func(p *ot.Problem, _ []float32) {
				p.A, p.B = slices.Repeat([]float64{1 / float64(n)}, n), append(make([]float64, m-1), 1)
			},
			"forbidden": func(_ *ot.Problem, single []float32) {
				for k := range single {
					if k/m != k%m && r.IntN(2) == 0 && n == m {
						single[k] = 1e16
					}
				}
			},
		} {
			t.Run(fmt.Sprintf("%d × %d %s", n, m, name), func(t *testing.T) {
				single := ot.DenseFloat32{N: n, M: m, Data: make([]float32, n*m)}
				for k := range single.Data {
					single.Data[k] = r.Float32()
				}
				var p ot.Problem
				change(&p, single.Data)
				p.Cost = mat.DenseCopyOf(single)
				want, wantDuals, err := ot.EMD{}.SolveDual(t.Context(), p)
				require.NoError(t, err)
				p.Cost = single
				got, duals, err := ot.EMD{}.SolveDual(t.Context(), p)
				require.NoError(t, err)
				require.True(t, mat.Equal(want.Mass(), got.Mass()))
				require.Equal(t, wantDuals, duals)
			})
		}
	}
}
