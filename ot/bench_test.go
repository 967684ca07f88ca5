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

func benchmark(b *testing.B, s ot.Solver, uneven bool) {
	for _, n := range []int{384, 768, 1536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := ot.Problem{Cost: gaussian(n)}
			if uneven {
				rng := rand.New(rand.NewPCG(uint64(n), 2))
				p.A, p.B = even(rng, n), even(rng, n)
			}
			for b.Loop() {
				if _, err := s.Solve(context.Background(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAssignment(b *testing.B) { benchmark(b, ot.EMD{}, false) }
func BenchmarkEMD(b *testing.B)        { benchmark(b, ot.EMD{}, true) }
func BenchmarkSinkhorn(b *testing.B)   { benchmark(b, ot.Sinkhorn{Reg: 0.08, Tol: 1e-6}, false) }
func BenchmarkSinkhornSharp(b *testing.B) {
	benchmark(b, ot.Sinkhorn{Reg: 0.005, Tol: 1e-6}, false)
}
