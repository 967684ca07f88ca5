package fuse

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// polarFactor returns the partial isometry that maximises ⟨g, P⟩ [n × m], and the
// maximum, the nuclear norm of g (Schönemann, 1966). Iterations find that of a square matrix
// of full rank, one of products alone where it is large and products are fast; a singular
// value decomposition finds all others.
func polarFactor(g mat.Matrix) (p *mat.Dense, nuclear float64, err error) {
	n, m := g.Dims()
	if n == m && n >= schulzUnits && chosenBLAS() {
		p = schulzFactor(g)
	}
	if p == nil && n == m && n >= newtonUnits {
		p = newtonFactor(g)
	}
	if p == nil {
		return factorBySVD(g)
	}
	return p, innerProduct(mat.DenseCopyOf(g), p), nil
}

// factorBySVD is polarFactor by a singular value decomposition.
func factorBySVD(g mat.Matrix) (p *mat.Dense, nuclear float64, err error) {
	var svd mat.SVD
	if !svd.Factorize(g, mat.SVDThin) {
		return nil, 0, errFactor
	}
	var l, r, out mat.Dense
	svd.UTo(&l)
	svd.VTo(&r)
	out.Mul(&l, r.T())
	for _, v := range svd.Values(nil) {
		nuclear += v
	}
	return &out, nuclear, nil
}

const (
	// newtonUnits is the width from which Newton's iteration is tried.
	newtonUnits = 64
	// newtonCondition is the condition in the 1-norm beyond which a matrix is left to its
	// singular value decomposition: what it does to directions of small singular values is
	// rounding then.
	newtonCondition = 1e10
	// newtonRounds is beyond what a matrix of that condition takes, about ten.
	newtonRounds = 20
)

// newtonFactor returns the orthogonal factor of a square matrix, or nil where it is close
// to singular or has entries that are not finite. Scaled by the norms of X and X⁻¹,
//
//	X ← (μ X + (μ X)⁻ᵀ) / 2,  μ⁴ = ‖X⁻¹‖₁ ‖X⁻¹‖_∞ / ‖X‖₁ ‖X‖_∞
//
// brings all singular values to 1 and leaves singular vectors as they are (Higham,
// "Computing the polar decomposition – with applications", 1986). Near the end, where the
// distance to the limit is squared at each turn, μ is 1.
func newtonFactor(g mat.Matrix) *mat.Dense {
	x := mat.DenseCopyOf(g)
	var inverse mat.Dense
	settling := false
	for round := range newtonRounds {
		if err := inverse.Inverse(x); err != nil {
			return nil
		}
		one, all := mat.Norm(x, 1), mat.Norm(x, math.Inf(1))
		inverseOne, inverseAll := mat.Norm(&inverse, 1), mat.Norm(&inverse, math.Inf(1))
		if condition := one * inverseOne; round == 0 && !(condition <= newtonCondition) { // NaN is not
			return nil
		}
		scale := 1.0
		if !settling {
			scale = math.Pow(inverseOne*inverseAll/(one*all), 0.25)
		}
		moved := newtonStep(x, &inverse, scale)
		if moved < settled {
			return x
		}
		settling = settling || moved < nearlySettled
	}
	return nil
}

const (
	// nearlySettled is the relative change from which on nothing is scaled any more.
	nearlySettled = 1e-2
	// settled is the relative change after which what is left is below rounding.
	settled = 1e-7
)

// newtonStep replaces x by the next iterate and returns how far that is, relatively.
func newtonStep(x, inverse *mat.Dense, scale float64) float64 {
	n, _ := x.Dims()
	var moved, size float64
	raw := inverse.RawMatrix()
	for i := range n {
		row := x.RawRowView(i)
		for j, v := range row {
			next := (scale*v + raw.Data[j*raw.Stride+i]/scale) / 2
			moved += (next - v) * (next - v)
			size += next * next
			row[j] = next
		}
	}
	return math.Sqrt(moved / size)
}
