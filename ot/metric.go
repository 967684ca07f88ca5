package ot

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// Metric turns a [Gram] of n source and m target units into a new cost [n × m],
// finite and non-negative. A Gram that is not valid, or whose costs overflow,
// gives an [*InvalidError].
type Metric interface {
	Cost(g Gram) (*mat.Dense, error)
}

// Euclidean is the distance ‖xᵢ − yⱼ‖ = √max(0, XXᵢ + YYⱼ − 2 XYᵢⱼ), in units
// of the features.
//
// Distances below the rounding of that difference, about 4e-8 of the norms,
// are zero.
type Euclidean struct{}

// Cost implements [Metric].
func (Euclidean) Cost(g Gram) (*mat.Dense, error) {
	return costs(g, func(xx, yy, xy float64) float64 { return math.Sqrt(squared(xx, yy, xy)) })
}

// SqEuclidean is the squared distance ‖xᵢ − yⱼ‖² = max(0, XXᵢ + YYⱼ − 2 XYᵢⱼ),
// in squared units of the features.
type SqEuclidean struct{}

// Cost implements [Metric].
func (SqEuclidean) Cost(g Gram) (*mat.Dense, error) { return costs(g, squared) }

// Cosine is the cosine distance max(0, 1 − XYᵢⱼ / √(XXᵢ YYⱼ)), without unit. A
// vector without length is at distance 1 from every other.
type Cosine struct{}

// Cost implements [Metric].
func (Cosine) Cost(g Gram) (*mat.Dense, error) {
	return costs(g, func(xx, yy, xy float64) float64 {
		if xx <= 0 || yy <= 0 {
			return 1
		}
		return max(0, 1-xy/math.Sqrt(xx)/math.Sqrt(yy))
	})
}

func squared(xx, yy, xy float64) float64 {
	d := xx + yy - 2*xy
	if d <= 0x1p-49*xx+0x1p-49*yy { // cancellation leaves nothing
		return 0
	}
	return d
}

func costs(g Gram, f func(xx, yy, xy float64) float64) (*mat.Dense, error) {
	xy, n, m, err := g.load()
	if err != nil {
		return nil, err
	}
	out := make([]float64, n*m)
	for i, xx := range g.XX {
		for j, yy := range g.YY {
			v := f(xx, yy, xy[i*m+j])
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, badEntry("Cost", i, j, v, ErrNotFinite)
			}
			out[i*m+j] = v
		}
	}
	return mat.NewDense(n, m, out), nil
}
