package ot_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// gaussian is the cost between two Gaussian clouds of n points in 64 dimensions.
func gaussian(n int) *mat.Dense {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	x, y := mat.NewDense(n, 64, nil), mat.NewDense(n, 64, nil)
	for _, d := range []*mat.Dense{x, y} {
		d.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, d)
	}
	c, err := ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}.Cost(ot.NewGram(x, y))
	if err != nil {
		panic(err)
	}
	return c
}

func even(rng *rand.Rand, n int) []float64 {
	w, s := make([]float64, n), 0.0
	for i := range w {
		w[i] = 0.5 + rng.Float64()
		s += w[i]
	}
	for i := range w {
		w[i] /= s
	}
	return w
}

// benchmark runs s on Euclidean costs between Gaussian clouds, with equal or unequal
// masses, as the command benchmarks/ot does beside other libraries.
func benchmark(b *testing.B, s ot.Solver, unequal bool) {
	for _, n := range []int{384, 768, 1536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := ot.Problem{Cost: gaussian(n)}
			if unequal {
				rng := rand.New(rand.NewPCG(uint64(n), 2))
				p.A, p.B = even(rng, n), even(rng, n)
			}
			repeat(b, s, p)
		})
	}
}

// benchmarkCost runs s with equal masses on costs that are drawn one by one.
func benchmarkCost(b *testing.B, s ot.Solver, cost func(rng *rand.Rand) float64) {
	for _, n := range []int{384, 768, 1536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng, c := rand.New(rand.NewPCG(uint64(n), 3)), mat.NewDense(n, n, nil)
			c.Apply(func(int, int, float64) float64 { return cost(rng) }, c)
			repeat(b, s, ot.Problem{Cost: c})
		})
	}
}

func repeat(b *testing.B, s ot.Solver, p ot.Problem) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Solve(context.Background(), p); err != nil {
			b.Fatal(err)
		}
	}
}

// The four solvers of benchmarks/ot: emd, emd-nonuniform, sinkhorn-0.08, sinkhorn-0.005.

func BenchmarkAssignment(b *testing.B) { benchmark(b, ot.EMD{}, false) }
func BenchmarkEMD(b *testing.B)        { benchmark(b, ot.EMD{}, true) }
func BenchmarkSinkhorn(b *testing.B)   { benchmark(b, ot.Sinkhorn{Reg: 0.08, Tol: 1e-6}, false) }
func BenchmarkSinkhornSharp(b *testing.B) {
	benchmark(b, ot.Sinkhorn{Reg: 0.005, Tol: 1e-6}, false)
}

// Costs without geometry, and integer costs with many ties.

func BenchmarkAssignmentUniform(b *testing.B) {
	benchmarkCost(b, ot.EMD{}, func(rng *rand.Rand) float64 { return rng.Float64() })
}

func BenchmarkAssignmentTies(b *testing.B) {
	benchmarkCost(b, ot.EMD{}, func(rng *rand.Rand) float64 { return float64(rng.IntN(100)) })
}

// BenchmarkAssignmentFloat32 reads costs of float32 without a copy.
func BenchmarkAssignmentFloat32(b *testing.B) {
	for _, n := range []int{384, 768, 1536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, single := gaussian(n), ot.DenseFloat32{N: n, M: n, Data: make([]float32, n*n)}
			for k, v := range c.RawMatrix().Data {
				single.Data[k] = float32(v)
			}
			repeat(b, ot.EMD{}, ot.Problem{Cost: single})
		})
	}
}

// BenchmarkSinkhornWarm starts from the potentials of the solution.
func BenchmarkSinkhornWarm(b *testing.B) {
	p := ot.Problem{Cost: gaussian(768)}
	r, err := ot.Sinkhorn{Reg: 0.005, Tol: 1e-6}.SolveResult(b.Context(), p)
	if err != nil {
		b.Fatal(err)
	}
	repeat(b, ot.Sinkhorn{Reg: 0.005, Tol: 1e-6, Start: &r.Duals}, p)
}
