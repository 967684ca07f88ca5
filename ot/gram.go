package ot

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// Gram holds what metrics need to know about n source and m target units: the
// squared norms and the inner products of their feature vectors.
//
// It is all that second moments of activations have to supply, and its size
// does not depend on the number of samples.
type Gram struct {
	XX, YY []float64  // ‖xᵢ‖² [n], ‖yⱼ‖² [m]
	XY     mat.Matrix // ⟨xᵢ, yⱼ⟩ [n × m]

	err error // why Rows could not make it
}

// Rows returns the Gram of feature rows x [n × d] and y [m × d]:
//
//	XX = diag(x xᵀ),  YY = diag(y yᵀ),  XY = x yᵀ
//
// Rows of unequal length give a Gram that is not valid.
func Rows(x, y mat.Matrix) Gram {
	dx, n, d, err := rowMajor("x", x)
	if err != nil {
		return Gram{err: err}
	}
	dy, m, e, err := rowMajor("y", y)
	switch {
	case err != nil:
		return Gram{err: err}
	case n == 0 || m == 0 || d != e:
		return Gram{err: invalid("Rows", ErrShape, "%d × %d and %d × %d", n, d, m, e)}
	}
	xy := mat.NewDense(n, m, nil)
	xy.Mul(mat.NewDense(n, d, dx), mat.NewDense(m, d, dy).T())
	return Gram{XX: squares(dx, n, d), YY: squares(dy, m, d), XY: xy}
}

func squares(x []float64, n, d int) []float64 {
	out := make([]float64, n)
	for i := range out {
		for _, v := range x[i*d : (i+1)*d] {
			out[i] += v * v
		}
	}
	return out
}

// Validate returns nil if the shapes fit and every entry is finite, and an
// [*InvalidError] naming the first bad entry otherwise.
func (g Gram) Validate() error {
	_, _, _, err := g.load()
	return err
}

// load returns the checked inner products, row-major.
func (g Gram) load() (xy []float64, n, m int, err error) {
	if g.err != nil {
		return nil, 0, 0, g.err
	}
	xy, n, m, err = rowMajor("XY", g.XY)
	switch {
	case err != nil:
		return nil, 0, 0, err
	case n == 0 || m == 0 || len(g.XX) != n || len(g.YY) != m:
		return nil, 0, 0, invalid("Gram", ErrShape, "XX %d, YY %d, XY %d × %d", len(g.XX), len(g.YY), n, m)
	}
	for i, v := range g.XX {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, 0, 0, badEntry("XX", i, -1, v, ErrNotFinite)
		}
	}
	for j, v := range g.YY {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, 0, 0, badEntry("YY", j, -1, v, ErrNotFinite)
		}
	}
	for k, v := range xy {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, 0, 0, badEntry("XY", k/m, k%m, v, ErrNotFinite)
		}
	}
	return xy, n, m, nil
}
