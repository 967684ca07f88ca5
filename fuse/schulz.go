package fuse

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

const (
	// schulzUnits is the width from which products alone are faster than inverses, by a BLAS
	// other than gonum's own. By that they are slower.
	schulzUnits = 512
	// leastSingularValue is what singular values are taken to be at least, beside the
	// largest. Smaller ones take more rounds.
	leastSingularValue = 1e-3
	// schulzRounds is beyond what a matrix takes whose factor float32 can find.
	schulzRounds = 40
	// nearlyOrthogonal is the distance of X Xᵀ from the identity from which one round more
	// leaves nothing but the rounding of float32.
	nearlyOrthogonal = 3e-3
)

// schulzFactor returns the orthogonal factor of a square matrix, or nil where that was not
// found. The iteration
//
//	X ← α/2 (3 I − α² X Xᵀ) X
//
// brings all singular values to 1 and leaves singular vectors as they are. While a lower
// bound l of them is below 1, α = √(3/(1 + l + l²)) raises the least ones fastest (Chen and
// Chow, "A stable scaling of Newton–Schulz for improving the sign function computation of
// a Hermitian matrix", 2014). It runs in float32; a last round in float64 squares what is
// left of the distance. Directions whose singular value is below the rounding of float32
// end where rounding puts them, orthogonal to all others.
func schulzFactor(g mat.Matrix) *mat.Dense {
	n, _ := g.Dims()
	x, gram, next := unitScaled(g), make([]float32, n*n), make([]float32, n*n)
	if x == nil {
		return nil
	}
	product(gram, x, x, n)
	if !normalise(x, gram, n) {
		return nil
	}
	least, last := leastSingularValue, false
	for range schulzRounds {
		alpha := math.Sqrt(3 / (1 + least + least*least))
		least = min(1, alpha*least*(3-alpha*alpha*least*least)/2)
		for i := range gram {
			gram[i] *= float32(-alpha * alpha * alpha / 2)
		}
		for i := range n {
			gram[i*n+i] += float32(1.5 * alpha)
		}
		product(next, gram, transposed(x, n), n)
		x, next = next, x
		if last {
			return polished(x, n)
		}
		product(gram, x, x, n)
		last = distanceFromIdentity(gram, n) < nearlyOrthogonal
		if last {
			least = 1
		}
	}
	return nil
}

// unitScaled returns the entries of g over the largest of them, nil where that is 0 or not
// finite.
func unitScaled(g mat.Matrix) []float32 {
	n, _ := g.Dims()
	top := 0.0
	for i := range n {
		for j := range n {
			top = math.Max(top, math.Abs(g.At(i, j))) // NaN stays
		}
	}
	if top == 0 || math.IsNaN(top) || math.IsInf(top, 0) {
		return nil
	}
	out := make([]float32, 0, n*n)
	for i := range n {
		for j := range n {
			out = append(out, float32(g.At(i, j)/top))
		}
	}
	return out
}

// normalise divides x by a bound of its largest singular value, √‖X Xᵀ‖_∞, and its Gram
// matrix by the square. It reports whether there is one.
func normalise(x, gram []float32, n int) bool {
	var bound float64
	for i := range n {
		var sum float64
		for _, v := range gram[i*n : (i+1)*n] {
			sum += math.Abs(float64(v))
		}
		bound = math.Max(bound, sum)
	}
	if !(bound > 0) || math.IsInf(bound, 0) {
		return false
	}
	for i := range x {
		x[i] /= float32(math.Sqrt(bound))
		gram[i] /= float32(bound)
	}
	return true
}

// distanceFromIdentity is the Frobenius norm of a matrix less the identity.
func distanceFromIdentity(gram []float32, n int) float64 {
	var sum float64
	for i, v := range gram {
		d := float64(v)
		if i%(n+1) == 0 {
			d--
		}
		sum += d * d
	}
	return math.Sqrt(sum)
}

// polished makes one unscaled round in float64.
func polished(x []float32, n int) *mat.Dense {
	wide := mat.NewDense(n, n, nil)
	raw := wide.RawMatrix().Data
	for i, v := range x {
		raw[i] = float64(v)
	}
	var step, out mat.Dense
	step.Mul(wide, wide.T())
	step.Scale(-0.5, &step)
	for i := range n {
		step.Set(i, i, 1.5+step.At(i, i))
	}
	out.Mul(&step, wide)
	return &out
}
