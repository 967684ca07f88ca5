package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
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
// are zero, so points far from the origin should be centred first.
type Euclidean struct{}

// Cost implements [Metric].
func (Euclidean) Cost(g Gram) (*mat.Dense, error) {
	return costMatrix(g, func(i, j int, xy float64) float64 { return math.Sqrt(squaredDistance(g.XX[i], g.YY[j], xy)) })
}

// SqEuclidean is the squared distance ‖xᵢ − yⱼ‖² = max(0, XXᵢ + YYⱼ − 2 XYᵢⱼ),
// in squared units of the features.
//
// Squared distances below about 2e-15 of the squared norms are zero, so points
// far from the origin should be centred first.
type SqEuclidean struct{}

// Cost implements [Metric].
func (SqEuclidean) Cost(g Gram) (*mat.Dense, error) {
	return costMatrix(g, func(i, j int, xy float64) float64 { return squaredDistance(g.XX[i], g.YY[j], xy) })
}

// Cosine is the cosine distance max(0, 1 − XYᵢⱼ / √(XXᵢ YYⱼ)), without unit. A zero
// vector is at distance 1 from every other.
type Cosine struct{}

// Cost implements [Metric].
func (Cosine) Cost(g Gram) (*mat.Dense, error) {
	return costMatrix(g, func(i, j int, xy float64) float64 { return angularDistance(g.XX[i], g.YY[j], xy) })
}

// angularDistance returns 1 minus the cosine of the angle between two vectors, from their
// squared norms and inner product.
func angularDistance(xx, yy, xy float64) float64 {
	if xx <= 0 || yy <= 0 {
		return 1
	}
	return max(0, 1-xy/math.Sqrt(xx)/math.Sqrt(yy))
}

// Correlation is the correlation distance max(0, 1 − ρᵢⱼ), the cosine distance of
// features minus their mean, without unit. A vector of equal features is at distance 1
// from every other.
type Correlation struct{}

// Cost implements [Metric].
func (Correlation) Cost(g Gram) (*mat.Dense, error) {
	if _, _, _, err := g.checked(); err != nil {
		return nil, err
	}
	xx, yy, d := g.centredSquares(g.XX, g.X), g.centredSquares(g.YY, g.Y), float64(g.Features)
	return costMatrix(g, func(i, j int, xy float64) float64 {
		if g.X != nil && g.Y != nil { // if one side is centred, so are the inner products
			xy -= g.X[i] / d * g.Y[j]
		}
		return angularDistance(xx[i], yy[j], xy)
	})
}

// centredSquares returns the squared norms of the centred features, which are the squared
// norms less (Σ of the features)²/d. Differences within rounding are zero.
func (g Gram) centredSquares(squares, sums []float64) []float64 {
	if sums == nil {
		return squares
	}
	out := make([]float64, len(squares))
	for i, q := range squares {
		if v := q - sums[i]/float64(g.Features)*sums[i]; v > 0x1p-40*q {
			out[i] = v
		}
	}
	return out
}

// squaredDistance returns the squared distance of two vectors, from their squared norms and
// inner product.
func squaredDistance(xx, yy, xy float64) float64 {
	d := xx + yy - 2*xy
	if d <= 0x1p-49*xx+0x1p-49*yy { // no more than the rounding of the sum
		return 0
	}
	return d
}

// costMatrix returns the cost [n × m] with entries f(i, j, XYᵢⱼ), by blocks of rows.
func costMatrix(g Gram, f func(i, j int, xy float64) float64) (*mat.Dense, error) {
	xy, n, m, err := g.checked()
	if err != nil {
		return nil, err
	}
	out, cuts := make([]float64, n*m), min(n, 1+n*m/minParallelEntries)
	bad := make([]error, cuts)
	err = runBlocks(context.Background(), cuts, n*m, func(b int) {
		lo, hi := blockRange(n, cuts, b)
		for i := lo; i < hi; i++ {
			for j := range m {
				v := f(i, j, xy[i*m+j])
				if bad[b] == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
					bad[b] = badEntry("Cost", i, j, v, ErrNotFinite)
				}
				out[i*m+j] = v
			}
		}
	})
	for _, e := range bad {
		if e != nil {
			return nil, e
		}
	}
	return mat.NewDense(n, m, out), err
}

// PNorm returns the distances ‖xᵢ − yⱼ‖ₚ = (Σₖ |xᵢₖ − yⱼₖ|^p)^(1/p) between feature rows
// x [n × d] and y [m × d] as a cost [n × m], in units of the features; p = +∞ is the
// largest difference.
//
// It takes the features themselves, since their second moments do not determine other
// norms than the Euclidean one, and therefore also resolves points far from the origin.
// A p below 1, features that are not finite, overflow and shapes that do not fit give an
// [*InvalidError].
func PNorm(p float64, x, y mat.Matrix) (*mat.Dense, error) {
	if !(p >= 1) {
		return nil, invalid("p", ErrOption, "%g", p)
	}
	xs, n, d, err := features("x", x)
	if err != nil {
		return nil, err
	}
	ys, m, e, err := features("y", y)
	if err != nil {
		return nil, err
	}
	if d != e {
		return nil, invalid("y", ErrShape, "%d × %d and %d × %d", n, d, m, e)
	}
	shape := Gram{XX: make([]float64, n), YY: make([]float64, m), XY: mat.NewDense(n, m, nil)}
	return costMatrix(shape, func(i, j int, _ float64) float64 {
		return floats.Distance(xs[i*d:(i+1)*d], ys[j*d:(j+1)*d], p)
	})
}

// features returns the checked entries of feature rows [n × d].
func features(field string, x mat.Matrix) (data []float64, n, d int, err error) {
	if data, n, d, err = rowMajor(field, x); err != nil {
		return nil, 0, 0, err
	}
	if n == 0 || d == 0 {
		return nil, 0, 0, invalid(field, ErrShape, "%d × %d", n, d)
	}
	for k, v := range data {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, 0, 0, badEntry(field, k/d, k%d, v, ErrNotFinite)
		}
	}
	return data, n, d, nil
}
