package ot

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// balance is the relative difference up to which two total masses are equal.
const balance = 1e-9

// maxTotal bounds total masses and ε, and its inverse bounds them from below, so
// that sums and shares of them stay finite.
const maxTotal = 1e300

// Problem is a discrete transport problem: move the masses A onto the masses B
// at the given Cost.
//
//	min Σᵢⱼ Pᵢⱼ Cᵢⱼ   over P ≥ 0,  Σⱼ Pᵢⱼ = aᵢ,  Σᵢ Pᵢⱼ = bⱼ
//
// Kantorovich, "On the translocation of masses" (1942).
type Problem struct {
	Cost mat.Matrix // [n × m], finite, and non-negative but for [EMD] and [Partial]
	A, B []float64  // masses [n] and [m], non-negative, of equal total; nil is uniform with total 1
}

// Solver finds a plan for a problem.
//
// Solve returns an [*InvalidError] for what is no problem, the error of ctx
// when it ends, and a [*NotConvergedError] together with the plan reached when an
// iteration stops early. The plan beside any other error is the zero one and
// means nothing, although it reads as the identity. Solve never returns a plan
// without mass, and what it returns does not depend on GOMAXPROCS. Totals of A and B that differ within
// the 1e-9 that [Problem.Validate] allows are matched by rescaling B.
type Solver interface {
	Solve(ctx context.Context, p Problem) (Plan, error)
}

// Validate returns nil for a transport problem and otherwise an
// [*InvalidError] naming the first bad entry: a cost or mass that is NaN,
// infinite or negative, masses whose total is zero or beyond 1e±300, totals that
// differ by more than 1e-9 relative, shapes that do not fit.
func (p Problem) Validate() error {
	in, err := load(p)
	if err != nil {
		return err
	}
	return in.balanced()
}

// instance is a checked problem without its empty rows and columns.
type instance struct {
	rows, cols []int     // kept indices; nil keeps all
	n, m       int       // kept
	cost       []float64 // [n × m], row-major, read-only
	single     []float32 // the same where it was given so, and then cost may be missing
	a, b       []float64 // kept masses, all positive
	fullA      []float64 // [N]
	fullB      []float64 // [M]
	suma, sumb float64
	top        float64 // largest cost kept
}

// load checks everything about p but the balance of the totals.
func load(p Problem) (*instance, error) {
	in, err := read(p)
	if err == nil {
		in.widen()
	}
	return in, err
}

// read is load but leaves single costs as they are.
func read(p Problem) (in *instance, err error) {
	in = &instance{}
	if f, ok := p.Cost.(DenseFloat32); ok {
		in.single, in.n, in.m, err = f.Data, f.N, f.M, f.check()
	} else {
		in.cost, in.n, in.m, err = rowMajor("Cost", p.Cost)
	}
	if err != nil {
		return nil, err
	}
	n, m := in.n, in.m
	if n == 0 || m == 0 {
		return nil, invalid("Cost", ErrShape, "%d × %d", n, m)
	}
	if in.fullA, in.suma, err = masses("A", p.A, n); err != nil {
		return nil, err
	}
	if in.fullB, in.sumb, err = masses("B", p.B, m); err != nil {
		return nil, err
	}
	if in.single != nil {
		in.top, err = greatest(in.single, m)
	} else {
		in.top, err = largest(in.cost, m)
	}
	if err != nil {
		return nil, err
	}
	in.compact()
	return in, nil
}

// widen makes cost from single.
func (in *instance) widen() {
	if in.cost == nil {
		in.cost = widened(in.single)
	}
}

// largest returns the largest of the costs [n × m] and an error for the first
// that is none. The order of non-negative numbers is that of their bits, and
// all else but −0 lies above.
func largest(c []float64, m int) (float64, error) {
	cuts := 1 + len(c)/(4*grain)
	tops := make([]uint64, cuts)
	_ = blocks(context.Background(), cuts, len(c), func(b int) {
		lo, hi := span(len(c), cuts, b)
		var t0, t1 uint64
		for k := lo + 1; k < hi; k += 2 {
			t0, t1 = max(t0, math.Float64bits(c[k-1])), max(t1, math.Float64bits(c[k]))
		}
		tops[b] = max(t0, t1, math.Float64bits(c[hi-1]))
	})
	if t := slices.Max(tops); t <= math.Float64bits(math.MaxFloat64) {
		return math.Float64frombits(t), nil
	}
	return greatest(c, m)
}

// greatest is largest for all numbers there are.
func greatest[T number](c []T, m int) (top float64, err error) {
	for k, v := range c {
		v := float64(v)
		// The negation also catches NaN.
		if !(v >= 0) || v > math.MaxFloat64 {
			e := badEntry("Cost", k/m, k%m, v, ErrNegative)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				e.Err = ErrNotFinite
			}
			return 0, e
		}
		if v > top {
			top = v
		}
	}
	return top, nil
}

// loadBalanced checks p for the solvers that move all mass, and gives b the
// total of a.
func loadBalanced(p Problem) (*instance, error) {
	in, err := readBalanced(p)
	if err == nil {
		in.widen()
	}
	return in, err
}

// readBalanced is loadBalanced but leaves single costs as they are.
func readBalanced(p Problem) (*instance, error) {
	in, err := read(p)
	if err != nil {
		return nil, err
	}
	if err := in.balanced(); err != nil {
		return nil, err
	}
	if r := in.suma / in.sumb; math.Abs(r-1) > 1e-14 {
		b := make([]float64, len(in.b))
		for j, v := range in.b {
			b[j] = v * r
		}
		in.b = b
	}
	return in, nil
}

func (in *instance) balanced() error {
	if d := math.Abs(in.suma - in.sumb); !(d <= balance*max(in.suma, in.sumb)) {
		return invalid("B", ErrUnbalanced, "A sums to %g, B to %g", in.suma, in.sumb)
	}
	return nil
}

// compact drops rows and columns without mass.
func (in *instance) compact() {
	in.rows, in.a = positive(in.fullA)
	in.cols, in.b = positive(in.fullB)
	if in.rows == nil && in.cols == nil {
		return
	}
	in.widen()
	in.single = nil
	width := in.m
	in.n, in.m, in.top = len(in.a), len(in.b), 0
	c := make([]float64, 0, in.n*in.m)
	for i := range in.n {
		row := in.cost[in.row(i)*width:][:width]
		for j := range in.m {
			v := row[in.col(j)]
			in.top = max(in.top, v)
			c = append(c, v)
		}
	}
	in.cost = c
}

func (in *instance) row(i int) int {
	if in.rows == nil {
		return i
	}
	return in.rows[i]
}

func (in *instance) col(j int) int {
	if in.cols == nil {
		return j
	}
	return in.cols[j]
}

// plan puts a coupling of the kept units, which it takes over, among all.
func (in *instance) plan(mass []float64) Plan {
	full := mat.NewDense(in.n, in.m, mass)
	if in.rows != nil || in.cols != nil {
		full = mat.NewDense(len(in.fullA), len(in.fullB), nil)
		for i := range in.n {
			row := full.RawRowView(in.row(i))
			for j := range in.m {
				row[in.col(j)] = mass[i*in.m+j]
			}
		}
	}
	return Plan{mass: full, a: in.fullA, b: in.fullB}
}

// positive lists the entries above zero; the list is nil if it holds them all.
func positive(w []float64) (keep []int, kept []float64) {
	for i, v := range w {
		if v > 0 {
			keep, kept = append(keep, i), append(kept, v)
		}
	}
	if len(keep) == len(w) {
		return nil, kept
	}
	return keep, kept
}

// masses checks a marginal and returns a copy of it and its total.
func masses(field string, w []float64, n int) ([]float64, float64, error) {
	if w == nil {
		return uniform(n), 1, nil
	}
	if len(w) != n {
		return nil, 0, invalid(field, ErrShape, "%d masses for %d units", len(w), n)
	}
	var sum float64
	for i, v := range w {
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			return nil, 0, badEntry(field, i, -1, v, ErrNotFinite)
		case v < 0:
			return nil, 0, badEntry(field, i, -1, v, ErrNegative)
		}
		sum += v
	}
	switch {
	case sum == 0:
		return nil, 0, invalid(field, ErrEmpty, "all %d masses are zero", n)
	case sum < 1/maxTotal:
		return nil, 0, invalid(field, ErrEmpty, "a total of %g is beyond floating point", sum)
	case sum > maxTotal:
		return nil, 0, invalid(field, ErrNotFinite, "a total of %g is beyond floating point", sum)
	}
	return append([]float64(nil), w...), sum, nil
}

func uniform(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 1 / float64(n)
	}
	return w
}

// rowMajor returns the entries of x without copying them where it can.
func rowMajor(field string, x mat.Matrix) (data []float64, r, c int, err error) {
	if v := reflect.ValueOf(x); x == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, 0, 0, invalid(field, ErrShape, "nil")
	}
	// The methods of a foreign matrix may panic.
	defer func() {
		if v := recover(); v != nil {
			data, err = nil, invalid(field, ErrShape, "%s", fmt.Sprint(v))
		}
	}()
	r, c = x.Dims()
	if f, ok := x.(DenseFloat32); ok {
		return widened(f.Data), r, c, f.check()
	}
	if d, ok := x.(*mat.Dense); ok && d.RawMatrix().Stride == c {
		return d.RawMatrix().Data[:r*c], r, c, nil
	}
	data = make([]float64, r*c)
	for i := range r {
		mat.Row(data[i*c:(i+1)*c], i, x)
	}
	return data, r, c, nil
}
