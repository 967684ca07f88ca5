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

func randomCost(rng *rand.Rand, n, m int) *mat.Dense {
	x, y := mat.NewDense(n, 3, nil), mat.NewDense(m, 3, nil)
	for _, d := range []*mat.Dense{x, y} {
		d.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, d)
	}
	c, err := ot.Scaled{Metric: ot.Euclidean{}, By: ot.Max{}}.Cost(ot.Rows(x, y))
	if err != nil {
		panic(err)
	}
	return c
}

func randomMass(rng *rand.Rand, n int) []float64 {
	w := make([]float64, n)
	var s float64
	for i := range w {
		w[i] = rng.ExpFloat64()
		s += w[i]
	}
	for i := range w {
		w[i] /= s
	}
	return w
}

// certify checks that a plan is optimal and exact for its problem.
func certify(t *testing.T, p ot.Problem) ot.Plan {
	t.Helper()
	plan, duals, err := ot.EMD{}.SolveDual(context.Background(), p)
	require.NoError(t, err)
	c, err := ot.Certify(p, plan, duals)
	require.NoError(t, err)
	top := mat.Max(p.Cost)
	mass := 1.0
	if p.A != nil {
		mass = 0
		for _, v := range p.A {
			mass += v
		}
	}
	require.InDelta(t, 0, c.Violation/mass, 1e-12)
	require.InDelta(t, 0, c.Infeasible, 1e-12*top)
	require.InDelta(t, 0, c.Gap, 1e-12*top*mass)
	return plan
}

// least returns the cost of the cheapest permutation.
func least(c mat.Matrix, j int, used []bool) float64 {
	n, _ := c.Dims()
	if j == n {
		return 0
	}
	best := math.Inf(1)
	for i := range n {
		if !used[i] {
			used[i] = true
			best = min(best, c.At(i, j)+least(c, j+1, used))
			used[i] = false
		}
	}
	return best
}

func TestEMDBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for n := 1; n <= 7; n++ {
		for range 5 {
			c := randomCost(rng, n, n)
			plan := certify(t, ot.Problem{Cost: c})
			require.InDelta(t, least(c, 0, make([]bool, n))/float64(n), plan.Cost(c), 1e-12)
			_, ok := plan.Permutation()
			require.True(t, ok)
		}
	}
}

// Masses in thirds make a unit of mass k/3 the same as k units, so that
// permutations of the copies are brute force for unequal masses, too.
func TestEMDBruteForceMasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	a, b := []float64{1, 3, 2, 1}, []float64{2, 0, 4, 1}
	for range 10 {
		c := randomCost(rng, 4, 4)
		var copies []float64
		for i, w := range a {
			for range int(w) {
				for j, v := range b {
					for range int(v) {
						copies = append(copies, c.At(i, j))
					}
				}
			}
		}
		plan := certify(t, ot.Problem{Cost: c, A: a, B: b})
		require.InDelta(t, least(mat.NewDense(7, 7, copies), 0, make([]bool, 7)), plan.Cost(c), 1e-12)
	}
}

func TestEMDCertified(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for _, d := range [][2]int{{1, 1}, {1, 9}, {9, 1}, {40, 40}, {64, 48}, {30, 90}, {200, 200}, {300, 5}} {
		n, m := d[0], d[1]
		ties := mat.NewDense(n, m, nil)
		ties.Apply(func(int, int, float64) float64 { return float64(rng.IntN(3)) }, ties)
		for _, c := range []*mat.Dense{randomCost(rng, n, m), ties, mat.NewDense(n, m, nil)} {
			certify(t, ot.Problem{Cost: c})
			certify(t, ot.Problem{Cost: c, A: randomMass(rng, n), B: randomMass(rng, m)})
		}
	}
}
