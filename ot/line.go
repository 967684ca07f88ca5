package ot

import (
	"cmp"
	"math"
	"slices"
)

// Line is a transport problem between points on a line, which has a solution in closed
// form.
//
//	min Σᵢⱼ Pᵢⱼ |xᵢ − yⱼ|^p   over P ≥ 0,  P 1 = a,  Pᵀ 1 = b
//
// For p ≥ 1 the optimal plan is monotone: it moves the mass from left to right in the
// order of the points. The p-th root of its cost, for masses of total 1, is the
// Wasserstein distance W_p.
//
// Santambrogio, "Optimal transport for applied mathematicians" (2015), section 2.2.
type Line struct {
	X, Y  []float64 // points [n] and [m], finite
	A, B  []float64 // masses [n] and [m], non-negative, of equal total; nil is uniform with total 1
	Power float64   // p ≥ 1; 0 means 1
}

// Solve returns the optimal plan [n × m] and its cost, in units of the points to the
// power p times the mass, in O((n + m) log(n + m)) time and O(n + m) memory. Of equal
// points the first gets mass first. Invalid input gives an [*InvalidError].
func (l Line) Solve() (Plan, float64, error) {
	p := cmp.Or(l.Power, 1)
	if !(p >= 1) || math.IsInf(p, 0) {
		return Plan{}, 0, invalid("Power", ErrOption, "%g", l.Power)
	}
	in, err := l.read()
	if err != nil {
		return Plan{}, 0, err
	}
	rows, columns := sortedBy(l.X, in.originalRow, in.n), sortedBy(l.Y, in.originalColumn, in.m)
	moves, cost := make([]entry, 0, in.n+in.m), 0.0
	a, b := slices.Clone(in.a), slices.Clone(in.b)
	// The corner rule: the leftmost source unit that has mass left gives to the leftmost
	// target unit that needs some.
	for r, c := 0, 0; r < in.n && c < in.m; {
		i, j := rows[r], columns[c]
		moved := min(a[i], b[j])
		moves = append(moves, entry{int32(i), int32(j), moved})
		cost += moved * math.Pow(math.Abs(l.X[in.originalRow(i)]-l.Y[in.originalColumn(j)]), p)
		a[i] -= moved
		b[j] -= moved
		// What rounding leaves of the last unit of one side goes to the other's last unit.
		switch {
		case a[i] == 0 && r < in.n-1, c == in.m-1:
			r++
		default:
			c++
		}
	}
	if math.IsInf(cost, 0) {
		return Plan{}, 0, invalid("X", ErrNotFinite, "the cost overflows")
	}
	return in.sparsePlanOf(moves), cost, nil
}

// read checks the points and masses.
func (l Line) read() (*instance, error) {
	for _, side := range []struct {
		field  string
		points []float64
	}{{"X", l.X}, {"Y", l.Y}} {
		if len(side.points) == 0 {
			return nil, invalid(side.field, ErrShape, "no points")
		}
		for i, v := range side.points {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, badEntry(side.field, i, -1, v, ErrNotFinite)
			}
		}
	}
	in := &instance{n: len(l.X), m: len(l.Y)}
	if err := in.readMasses(l.A, l.B); err != nil {
		return nil, err
	}
	if err := in.balanced(); err != nil {
		return nil, err
	}
	in.keptRows, in.a = withMass(in.fullA)
	in.keptColumns, in.b = withMass(in.fullB)
	in.n, in.m = len(in.a), len(in.b)
	in.matchTotals()
	return in, nil
}

// sortedBy returns 0 … n-1 in the order of the points, of which original gives the index.
func sortedBy(points []float64, original func(int) int, n int) []int {
	order := make([]int, n)
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(k, l int) int {
		return cmp.Compare(points[original(k)], points[original(l)])
	})
	return order
}
