package ot

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// balanceTol is the relative difference up to which two total masses are equal.
const balanceTol = 1e-9

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
// Solve returns an [*InvalidError] for invalid input, the error of ctx when it ends,
// and a [*NotConvergedError] together with the plan reached when an iteration stops
// early. The plan beside any other error is the zero one and means nothing, although it
// reads as the identity. Solve never returns a plan without mass, and its result does
// not depend on GOMAXPROCS. Totals of A and B that differ within the 1e-9 that
// [Problem.Validate] allows are matched by rescaling B.
//
// Package ottest checks that a Solver keeps this contract. The solvers of problems that
// are not a Problem, [GromovWasserstein], [EntropicGromovWasserstein] and [Barycenter],
// have a Solve of another signature. Solvers may be used by several goroutines at once.
type Solver interface {
	Solve(ctx context.Context, p Problem) (Plan, error)
}

// Validate returns nil for a valid problem and otherwise an [*InvalidError] that names
// the first bad entry: a cost or mass that is NaN, infinite or negative, masses whose
// total is zero or beyond 1e±300, totals that differ by more than 1e-9 relative, shapes
// that do not fit.
func (p Problem) Validate() error {
	in, err := readProblem(context.Background(), p)
	if err != nil {
		return err
	}
	return in.balanced()
}

// instance is a checked problem from which the units without mass are left out.
type instance struct {
	keptRows, keptColumns []int     // original indices of the units that are kept; nil keeps all
	n, m                  int       // numbers of units that are kept
	cost                  []float64 // [n × m], row-major, read-only
	cost32                []float32 // costs of a DenseFloat32; cost is nil until widenCosts then
	a, b                  []float64 // masses of the kept units, all positive
	fullA                 []float64 // all masses of the source
	fullB                 []float64 // all masses of the target
	totalA, totalB        float64
	maxCost               float64   // largest cost between kept units
	columnMinima          []float64 // least cost of every column [m], nil where it is not known
}

// readProblem checks everything about p except that the totals are equal.
func readProblem(ctx context.Context, p Problem) (*instance, error) {
	in, err := readProblemAsIs(ctx, p)
	if err == nil {
		in.widenCosts()
	}
	return in, err
}

// readProblemAsIs is readProblem, but leaves float32 costs as they are.
func readProblemAsIs(ctx context.Context, p Problem) (in *instance, err error) {
	in = &instance{}
	if f, ok := p.Cost.(DenseFloat32); ok {
		in.cost32, in.n, in.m, err = f.Data, f.N, f.M, f.check()
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
	if err := in.readMasses(p.A, p.B); err != nil {
		return nil, err
	}
	if err := contextError(ctx); err != nil {
		return nil, err
	}
	if in.cost32 != nil {
		in.columnMinima, in.maxCost, err = readCosts(ctx, in.cost32, m)
	} else {
		in.columnMinima, in.maxCost, err = readCosts(ctx, in.cost, m)
	}
	if err != nil {
		return nil, err
	}
	in.dropEmptyUnits()
	return in, nil
}

// widenCosts makes float64 costs from float32 ones.
func (in *instance) widenCosts() {
	if in.cost == nil {
		in.cost = toFloat64(in.cost32)
	}
}

// readCosts returns the least of the costs [n × m] of every column, and the largest of all,
// with one pass through memory. It returns an error for the first entry that is no cost, or
// that of ctx.
func readCosts[T number](ctx context.Context, c []T, m int) (low []float64, top float64, err error) {
	n := len(c) / m
	blocks := min(n, 1+len(c)/(16*minParallelEntries), 16)
	lows, tops := make([][]T, blocks), make([]float64, blocks)
	err = runBlocks(ctx, blocks, len(c), func(b int) {
		lo, hi := blockRange(n, blocks, b)
		lows[b] = slices.Clone(c[lo*m : (lo+1)*m])
		for i := lo; i < hi && ctx.Err() == nil; i++ {
			tops[b] = max(tops[b], lowerTo(lows[b], c[i*m:(i+1)*m]))
		}
	})
	if err != nil {
		return nil, 0, err
	}
	for _, other := range lows[1:] {
		lowerTo(lows[0], other)
	}
	if top = slices.Max(tops); top > math.MaxFloat64 || slices.Min(lows[0]) < 0 {
		top, err = scanCosts(c, m)
		return nil, top, err
	}
	low = make([]float64, m)
	for j, v := range lows[0] {
		low[j] = float64(v)
	}
	return low, top, nil
}

// scanCosts is the slow path of readCosts: it also handles negative, NaN and infinite
// costs, and names the first of them.
func scanCosts[T number](c []T, m int) (top float64, err error) {
	for k, v := range c {
		v := float64(v)
		// The negated comparison is also true for NaN.
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

// readBalanced checks p for solvers that move all mass, and rescales b to the total of a.
func readBalanced(ctx context.Context, p Problem) (*instance, error) {
	in, err := readBalancedAsIs(ctx, p)
	if err == nil {
		in.widenCosts()
	}
	return in, err
}

// readBalancedAsIs is readBalanced, but leaves float32 costs as they are.
func readBalancedAsIs(ctx context.Context, p Problem) (*instance, error) {
	in, err := readProblemAsIs(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := in.balanced(); err != nil {
		return nil, err
	}
	in.matchTotals()
	return in, nil
}

// matchTotals rescales b to the total of a where they differ by more than rounding.
func (in *instance) matchTotals() {
	r := in.totalA / in.totalB
	if math.Abs(r-1) <= 1e-14 {
		return
	}
	b := make([]float64, len(in.b))
	for j, v := range in.b {
		b[j] = v * r
	}
	in.b = b
}

// balanced returns an error if the totals of the two sides differ.
func (in *instance) balanced() error {
	if d := math.Abs(in.totalA - in.totalB); !(d <= balanceTol*max(in.totalA, in.totalB)) {
		return invalid("B", ErrUnbalanced, "A sums to %g, B to %g", in.totalA, in.totalB)
	}
	return nil
}

// dropEmptyUnits leaves out the rows and columns without mass.
func (in *instance) dropEmptyUnits() {
	in.keptRows, in.a = withMass(in.fullA)
	in.keptColumns, in.b = withMass(in.fullB)
	if in.keptRows == nil && in.keptColumns == nil {
		return
	}
	width := in.m
	in.n, in.m, in.columnMinima = len(in.a), len(in.b), nil
	if in.cost32 != nil {
		in.cost32, in.maxCost = keptCosts(in, in.cost32, width)
	} else {
		in.cost, in.maxCost = keptCosts(in, in.cost, width)
	}
}

// keptCosts returns the costs between the kept units, of all costs in rows of the given
// width, and the largest of them.
func keptCosts[T number](in *instance, all []T, width int) ([]T, float64) {
	var top T
	c := make([]T, 0, in.n*in.m)
	for i := range in.n {
		row := all[in.originalRow(i)*width:][:width]
		for j := range in.m {
			v := row[in.originalColumn(j)]
			top = max(top, v)
			c = append(c, v)
		}
	}
	return c, float64(top)
}

// originalRow returns the index of kept row i in the problem.
func (in *instance) originalRow(i int) int {
	if in.keptRows == nil {
		return i
	}
	return in.keptRows[i]
}

// originalColumn returns the index of kept column j in the problem.
func (in *instance) originalColumn(j int) int {
	if in.keptColumns == nil {
		return j
	}
	return in.keptColumns[j]
}

// planOf returns the plan of all units for a coupling of the kept ones. It takes mass
// over.
func (in *instance) planOf(mass []float64) Plan {
	full := mat.NewDense(in.n, in.m, mass)
	if in.keptRows != nil || in.keptColumns != nil {
		full = mat.NewDense(len(in.fullA), len(in.fullB), nil)
		for i := range in.n {
			row := full.RawRowView(in.originalRow(i))
			for j := range in.m {
				row[in.originalColumn(j)] = mass[i*in.m+j]
			}
		}
	}
	return Plan{mass: full, a: in.fullA, b: in.fullB}
}

// sparsePlanOf returns the plan of all units for the entries of a coupling of the kept
// ones. It takes entries over.
func (in *instance) sparsePlanOf(entries []entry) Plan {
	for k, e := range entries {
		entries[k].row, entries[k].column = int32(in.originalRow(int(e.row))), int32(in.originalColumn(int(e.column)))
	}
	return Plan{few: newSparse(len(in.fullA), len(in.fullB), entries), a: in.fullA, b: in.fullB}
}

// withMass returns the indices and values of the entries above zero. The indices are nil
// if all entries are.
func withMass(w []float64) (keep []int, kept []float64) {
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

// readMasses checks both marginals for the n and m units of in.
func (in *instance) readMasses(a, b []float64) (err error) {
	if in.fullA, in.totalA, err = checkMasses("A", a, in.n); err != nil {
		return err
	}
	in.fullB, in.totalB, err = checkMasses("B", b, in.m)
	return err
}

// checkMasses checks a marginal and returns a copy of it and its total.
func checkMasses(field string, w []float64, n int) ([]float64, float64, error) {
	if w == nil {
		return uniformMasses(n), 1, nil
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

// uniformMasses returns n equal masses with total 1.
func uniformMasses(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 1 / float64(n)
	}
	return w
}

// rowMajor returns the entries of x row by row. It copies them only where x does not
// store them so.
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
		return toFloat64(f.Data), r, c, f.check()
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
