package ot

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"
)

// Gram holds what metrics need to know about n source and m target units: the squared
// norms, the inner products and the sums of their feature vectors.
//
// Second moments of activations supply all of it, and its size does not depend on the
// number of samples.
type Gram struct {
	XX, YY []float64  // ‖xᵢ‖² [n], ‖yⱼ‖² [m]
	XY     mat.Matrix // ⟨xᵢ, yⱼ⟩ [n × m]

	// For [Correlation]: the sums of the features of every xᵢ [n] and every yⱼ [m],
	// and the number of features. Without them features count as centred.
	X, Y     []float64
	Features int

	err error // of NewGram, which has no error result
}

// NewGram returns the Gram of feature rows x [n × d] and y [m × d]:
//
//	XX = diag(x xᵀ),  YY = diag(y yᵀ),  XY = x yᵀ
//
// Rows of unequal length give a Gram whose use returns the error, see [Gram.Validate].
func NewGram(x, y mat.Matrix) Gram {
	var g Gram
	g.err = g.Add(x, y)
	return g
}

// Add adds further features x [n × d] and y [m × d] of the same units, so that a Gram of
// very many features can be made in blocks. The zero Gram has no features. Shapes that do
// not fit give an [*InvalidError] and change nothing.
func (g *Gram) Add(x, y mat.Matrix) error {
	dx, n, d, err := rowMajor("x", x)
	if err != nil {
		return err
	}
	dy, m, e, err := rowMajor("y", y)
	switch {
	case err != nil:
		return err
	case n == 0 || m == 0 || d != e:
		return invalid("Rows", ErrShape, "%d × %d and %d × %d", n, d, m, e)
	}
	if g.XY == nil {
		*g = Gram{
			XX: make([]float64, n), YY: make([]float64, m), X: make([]float64, n), Y: make([]float64, m),
			XY: mat.NewDense(n, m, nil),
		}
	}
	xy, ok := g.XY.(*mat.Dense)
	if !ok || len(g.XX) != n || len(g.YY) != m || len(g.X) != n || len(g.Y) != m {
		return invalid("Rows", ErrShape, "%d × %d and %d × %d to a Gram of %d × %d", n, d, m, e, len(g.XX), len(g.YY))
	}
	general := func(r int, data []float64) blas64.General {
		return blas64.General{Rows: r, Cols: d, Stride: d, Data: data}
	}
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, general(n, dx), general(m, dy), 1, xy.RawMatrix())
	addSums(g.XX, g.X, dx)
	addSums(g.YY, g.Y, dy)
	g.Features += d
	return nil
}

// addSums adds the squares and the values of each row of x to squares and values.
func addSums(squares, values, x []float64) {
	d := len(x) / len(values)
	for i := range values {
		for _, v := range x[i*d : (i+1)*d] {
			squares[i] += v * v
			values[i] += v
		}
	}
}

// Validate returns nil if the shapes fit and every entry is finite, and an
// [*InvalidError] naming the first bad entry otherwise. It does not look for
// inner products that no vectors have, |XYᵢⱼ| > √(XXᵢ YYⱼ): distances are zero
// where those would make them negative.
func (g Gram) Validate() error {
	_, _, _, err := g.checked()
	return err
}

// checked validates the Gram and returns its inner products row by row.
func (g Gram) checked() (xy []float64, n, m int, err error) {
	if g.err != nil {
		return nil, 0, 0, g.err
	}
	xy, n, m, err = rowMajor("XY", g.XY)
	switch {
	case err != nil:
		return nil, 0, 0, err
	case n == 0 || m == 0 || len(g.XX) != n || len(g.YY) != m:
		return nil, 0, 0, invalid("Gram", ErrShape, "XX %d, YY %d, XY %d × %d", len(g.XX), len(g.YY), n, m)
	case g.X != nil && len(g.X) != n || g.Y != nil && len(g.Y) != m || (g.X != nil || g.Y != nil) && g.Features < 1:
		return nil, 0, 0, invalid("Gram", ErrShape, "X %d, Y %d, of %d features, XY %d × %d",
			len(g.X), len(g.Y), g.Features, n, m)
	}
	for _, w := range []struct {
		field string
		data  []float64
	}{{"XX", g.XX}, {"YY", g.YY}, {"X", g.X}, {"Y", g.Y}} {
		for i, v := range w.data {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, 0, 0, badEntry(w.field, i, -1, v, ErrNotFinite)
			}
		}
	}
	for k, v := range xy {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, 0, 0, badEntry("XY", k/m, k%m, v, ErrNotFinite)
		}
	}
	return xy, n, m, nil
}
