package ot

import (
	"context"
	"fmt"
	"iter"
	"math"

	"gonum.org/v1/gonum/mat"
)

// permutationTol is the relative error up to which a plan counts as a permutation.
const permutationTol = 1e-9

// Plan couples n source units with m target units.
//
// It holds a coupling P [n × m] and the marginals a [n], b [m] that it was made for.
// Plans are immutable and may be used by several goroutines at once. Exact solvers
// return plans that store only the entries above zero, at most n + m − 1 of them, see
// [Plan.Entries].
//
// The zero Plan is the identity: both sides share one basis, whatever its size.
// Functions of this package return it beside any error other than a
// [*NotConvergedError], so a caller that drops errors reads "nothing moves"
// where there was no answer.
type Plan struct {
	mass *mat.Dense // nil where the coupling is sparse
	few  *sparse
	a, b []float64
}

// NewPlan returns the plan with a copy of the coupling mass [n × m] and of the
// marginals a [n], b [m]; nil marginals are uniform with total 1.
//
// The sums of mass need not equal the marginals, nor the totals of a and b
// each other: [Plan.Push] and [Plan.Pull] divide by what is given here. Entries
// that are negative or not finite, a coupling or a marginal without mass, and
// shapes that do not fit give an [*InvalidError].
func NewPlan(mass *mat.Dense, a, b []float64) (Plan, error) {
	if mass == nil || mass.IsEmpty() {
		return Plan{}, invalid("Mass", ErrShape, "empty")
	}
	n, m := mass.Dims()
	a, _, err := checkMasses("A", a, n)
	if err != nil {
		return Plan{}, err
	}
	if b, _, err = checkMasses("B", b, m); err != nil {
		return Plan{}, err
	}
	own := mat.DenseCopyOf(mass)
	var top float64
	for i := range n {
		for j, v := range own.RawRowView(i) {
			switch {
			case math.IsNaN(v) || math.IsInf(v, 0):
				return Plan{}, badEntry("Mass", i, j, v, ErrNotFinite)
			case v < 0:
				return Plan{}, badEntry("Mass", i, j, v, ErrNegative)
			}
			top = max(top, v)
		}
	}
	if top == 0 {
		return Plan{}, invalid("Mass", ErrEmpty, "%d × %d zeros", n, m)
	}
	return Plan{mass: own, a: a, b: b}, nil
}

// PermutationPlan returns the plan in which target j takes source perm[j], with uniform
// marginals: P[perm[j], j] = 1/n. A perm that is not a permutation of 0 … n-1 gives an
// [*InvalidError].
func PermutationPlan(perm []int) (Plan, error) {
	n := len(perm)
	if n == 0 {
		return Plan{}, invalid("perm", ErrShape, "empty")
	}
	entries, seen := make([]entry, 0, n), make([]bool, n)
	for j, i := range perm {
		if i < 0 || i >= n || seen[i] {
			e := badEntry("perm", j, -1, float64(i), ErrShape)
			e.Detail = "not a permutation"
			return Plan{}, e
		}
		seen[i] = true
		entries = append(entries, entry{int32(i), int32(j), 1 / float64(n)})
	}
	return Plan{few: newSparse(n, n, entries), a: uniformMasses(n), b: uniformMasses(n)}, nil
}

// IsIdentity reports whether p is the zero Plan. A solver without an error never
// returns it.
func (p Plan) IsIdentity() bool { return p.mass == nil && p.few == nil }

// Dims returns the numbers of source and target units, 0 and 0 for the
// identity.
func (p Plan) Dims() (n, m int) { return len(p.a), len(p.b) }

// Mass returns the coupling P [n × m], to be read only, or nil for the
// identity. [Plan.Row] is the quicker way to read it row by row.
func (p Plan) Mass() mat.Matrix {
	switch {
	case p.few != nil:
		return p.few
	case p.mass != nil:
		return p.mass
	}
	return nil
}

// Row returns the target units j that source unit i is coupled with, in rising order,
// and the masses Pᵢⱼ > 0. There are none for the identity, which has no size, and for
// an i out of range.
func (p Plan) Row(i int) iter.Seq2[int, float64] {
	return func(yield func(int, float64) bool) {
		switch {
		case i < 0 || i >= len(p.a):
		case p.few != nil:
			columns, values := p.few.row(i)
			for k, j := range columns {
				if !yield(int(j), values[k]) {
					return
				}
			}
		default:
			for j, v := range p.mass.RawRowView(i) {
				if v != 0 && !yield(j, v) {
					return
				}
			}
		}
	}
}

// Entries returns the number of entries that the plan stores, and so the memory that it
// takes: n m where every unit may be coupled with every other, no more than n + m − 1
// for plans of exact solvers, n for a permutation, 0 for the identity.
func (p Plan) Entries() int {
	if p.few != nil {
		return len(p.few.value)
	}
	return len(p.a) * len(p.b)
}

// Marginals returns copies of the masses a [n] and b [m] that the plan was made
// for, nil for the identity.
func (p Plan) Marginals() (a, b []float64) {
	return append([]float64(nil), p.a...), append([]float64(nil), p.b...)
}

// Push returns P diag(1/b) [n × m], whose columns sum to one: each target unit
// as a convex combination of source units. Columns with bⱼ = 0 are zero.
//
// The identity has no size, so its Push is nil; gonum panics on a nil factor,
// see [Plan.IsIdentity].
func (p Plan) Push() *mat.Dense {
	if p.IsIdentity() {
		return nil
	}
	out := mat.NewDense(len(p.a), len(p.b), nil)
	for i := range p.a {
		row := out.RawRowView(i)
		for j, v := range p.Row(i) {
			row[j] = ratio(v, p.b[j])
		}
	}
	return out
}

// Pull returns diag(1/a) P [n × m], whose rows sum to one: each source unit as
// a convex combination of target units. Rows with aᵢ = 0 are zero.
//
// The identity has no size, so its Pull is nil. [Plan.Project] applies Pull to
// points and takes the identity, too.
func (p Plan) Pull() *mat.Dense {
	if p.IsIdentity() {
		return nil
	}
	out := mat.NewDense(len(p.a), len(p.b), nil)
	for i, w := range p.a {
		row := out.RawRowView(i)
		for j, v := range p.Row(i) {
			row[j] = ratio(v, w)
		}
	}
	return out
}

// Project returns the barycentric projection of the source units onto points
// [m × d] of the target units: every source unit goes to the mean of the points
// that it is coupled with,
//
//	x̂ᵢ = Σⱼ Pᵢⱼ yⱼ / aᵢ  [n × d]
//
// It is Pull times points. The identity returns a copy of points, and units
// without mass go to the origin. Points that are not finite or of which there
// are not m give an [*InvalidError].
//
// Ferradans, Papadakis, Peyré and Aujol, "Regularized discrete optimal
// transport" (2014).
func (p Plan) Project(points mat.Matrix) (*mat.Dense, error) {
	data, rows, d, err := features("points", points)
	if err != nil {
		return nil, err
	}
	if p.IsIdentity() {
		return mat.DenseCopyOf(points), nil
	}
	if m := len(p.b); rows != m {
		return nil, invalid("points", ErrShape, "%d × %d for %d target units", rows, d, m)
	}
	y := mat.NewDense(rows, d, data)
	if p.few == nil {
		return multiply(context.Background(), p.Pull(), y)
	}
	out := mat.NewDense(len(p.a), d, nil)
	for i, w := range p.a {
		for j, v := range p.Row(i) {
			axpy(ratio(v, w), y.RawRowView(j), out.RawRowView(i))
		}
	}
	return out, nil
}

// String describes the plan in one line: its size, mass and entropy, and the
// share of the mass that stays on its index.
func (p Plan) String() string {
	if p.IsIdentity() {
		return "identity plan"
	}
	return fmt.Sprintf("plan of %d × %d units: mass %.4g, entropy %.4g nats, %.4g on the diagonal",
		len(p.a), len(p.b), p.total(), p.Entropy(), p.Diagonal())
}

// ratio returns v/w, and 0 for a unit without mass, w = 0.
func ratio(v, w float64) float64 {
	if w == 0 {
		return 0
	}
	return v / w
}

// Permutation returns perm [n], where target j takes source perm[j], and true if the plan
// moves every unit as a whole, to 1e-9 of its mass. The identity has no size, so it
// returns false.
func (p Plan) Permutation() ([]int, bool) {
	n, m := p.Dims()
	if n == 0 || n != m {
		return nil, false
	}
	perm, taken := make([]int, n), make([]bool, n)
	for i := range n {
		for j, v := range p.Row(i) {
			push, pull := ratio(v, p.b[j]), ratio(v, p.a[i])
			switch {
			case push <= permutationTol && pull <= permutationTol:
			case math.Abs(push-1) <= permutationTol && math.Abs(pull-1) <= permutationTol && !taken[j]:
				perm[j], taken[j] = i, true
			default:
				return nil, false
			}
		}
	}
	seen := make([]bool, n)
	for j, i := range perm {
		if !taken[j] || seen[i] {
			return nil, false
		}
		seen[i] = true
	}
	return perm, true
}

// Cost returns ⟨P, C⟩ = Σᵢⱼ Pᵢⱼ Cᵢⱼ in units of the cost c [n × m] times the mass. For
// the identity it is the mean of the diagonal of a square c. It is NaN if c does not fit.
func (p Plan) Cost(c mat.Matrix) float64 {
	data, r, w, err := rowMajor("Cost", c)
	n, m := p.Dims()
	if err != nil || r == 0 || (n > 0 && (r != n || w != m)) || (n == 0 && r != w) {
		return math.NaN()
	}
	var s float64
	if n == 0 {
		for i := range r {
			s += data[i*w+i]
		}
		return s / float64(r)
	}
	for i := range n {
		var t float64
		for j, v := range p.Row(i) { // entries without mass do not count, however large their cost
			t += v * data[i*m+j]
		}
		s += t
	}
	return s
}

// Entropy returns -Σᵢⱼ pᵢⱼ log pᵢⱼ in nats, where p is P divided by its total:
// log n for a permutation of n units, 0 for the identity, which has no size.
func (p Plan) Entropy() float64 {
	total := p.total()
	var s float64
	for i := range p.a {
		for _, v := range p.Row(i) {
			if q := v / total; q > 0 {
				s -= q * math.Log(q)
			}
		}
	}
	return s
}

// Diagonal returns the share of the mass that stays on its index,
// Σᵢ Pᵢᵢ / Σᵢⱼ Pᵢⱼ, and 1 for the identity.
func (p Plan) Diagonal() float64 {
	mass := p.Mass()
	if mass == nil {
		return 1
	}
	var s float64
	for i := range min(len(p.a), len(p.b)) {
		s += mass.At(i, i)
	}
	return s / p.total()
}

// total returns Σᵢⱼ Pᵢⱼ, with rows added up first.
func (p Plan) total() float64 {
	var s float64
	for i := range p.a {
		var t float64
		for _, v := range p.Row(i) {
			t += v
		}
		s += t
	}
	return s
}
