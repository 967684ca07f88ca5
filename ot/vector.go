package ot

import (
	"math"
	"slices"
)

// This file holds the passes over a row, which are the inner loops of all solvers. They
// are in assembly where the processor has vectors of four numbers and fused
// multiplication (AVX2, FMA). Elsewhere, and for the end of a row that fills no vector,
// they are in Go. Sums may differ between the two by rounding, leastReducedCost does not.

const (
	minExponent = -600 // smaller exponents give zero
	maxExponent = 709  // larger exponents are cut to it, so that kernels stay finite
)

// expCoefficients are the coefficients 1/k! of exp, from the highest power down.
var expCoefficients = [...]float64{
	1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320, 1. / 5040,
	1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2, 1, 1,
}

// expReduction holds the constants of the range reduction of exp: 1/log 2, the number
// whose addition rounds to integers, log 2 in two parts of which the first has trailing
// zeros, and the bounds of the exponent. The assembly reads them by position.
var expReduction = [...]float64{
	math.Log2E, 0x1.8p52, 6.93147180369123816490e-01, 1.90821492927058770002e-10, minExponent, maxExponent,
}

// expRow sets dst to exp((f + gⱼ − cⱼ) inv), where inv = 1/ε, and adds it to sums.
func expRow(dst, cost, g, sums []float64, f, inv float64) {
	n := len(dst)
	cost, g, sums = cost[:n], g[:n], sums[:n]
	j := 0
	if hasVectorUnits && n >= 8 {
		j = n &^ 7
		expRowAVX(&dst[0], &cost[0], &g[0], &sums[0], j, f, inv)
	}
	for ; j < n; j++ {
		e := 0.0
		if x := (f + g[j] - cost[j]) * inv; x > minExponent {
			e = math.Exp(min(x, maxExponent))
		}
		dst[j] = e
		sums[j] += e
	}
}

// dot returns Σ xⱼ yⱼ.
func dot(x, y []float64) (s float64) {
	n := len(x)
	y = y[:n]
	j := 0
	if hasVectorUnits && n >= 16 {
		j = n &^ 15
		s = dotAVX(&x[0], &y[0], j)
	}
	for ; j < n; j++ {
		s += x[j] * y[j]
	}
	return s
}

// axpy adds alpha x to y.
func axpy(alpha float64, x, y []float64) {
	n := len(x)
	y = y[:n]
	j := 0
	if hasVectorUnits && n >= 16 {
		j = n &^ 15
		axpyAVX(alpha, &x[0], &y[0], j)
	}
	for ; j < n; j++ {
		y[j] += alpha * x[j]
	}
}

// leastReducedCost returns the smallest cⱼ − vⱼ and the first column that has it.
func leastReducedCost[T number](cost []T, v []float64) (d float64, at int) {
	n := len(cost)
	v = v[:n]
	d, at = math.Inf(1), none
	j := 0
	if hasVectorUnits && n >= 16 {
		j = n &^ 7
		d, at = leastReducedCostVector(cost[:j], v)
	}
	for ; j < n; j++ {
		if x := float64(cost[j]) - v[j]; x < d {
			d, at = x, j
		}
	}
	return d, at
}

// leastReducedCostVector is leastReducedCost for a multiple of eight columns.
func leastReducedCostVector[T number](cost []T, v []float64) (d float64, at int) {
	inf := math.Inf(1)
	low := [8]float64{inf, inf, inf, inf, inf, inf, inf, inf}
	where := [8]int64{0, 1, 2, 3, 4, 5, 6, 7}
	switch cost := any(cost).(type) {
	case []float64:
		leastAVX(&cost[0], &v[0], len(cost), &low, &where)
	case []float32:
		leastSingleAVX(&cost[0], &v[0], len(cost), &low, &where)
	}
	d, at = low[0], int(where[0])
	for k, x := range low[1:] {
		if j := int(where[k+1]); x < d || x == d && j < at {
			d, at = x, j
		}
	}
	return d, at
}

// lowerTo sets low to the smaller of low and row, column by column. It returns the
// largest number in the row, and infinity if one of them is NaN or infinite.
func lowerTo[T number](low, row []T) float64 {
	var top, rest T // rest is a sum of products with zero
	j := 0
	low = low[:len(row)]
	if hasVectorUnits && len(row) >= 32 {
		j = len(row) &^ 31
		switch row := any(row).(type) {
		case []float64:
			t, r := lowerAVX(&any(low).([]float64)[0], &row[0], j)
			top, rest = T(t), T(r)
		case []float32:
			t, r := lowerSingleAVX(&any(low).([]float32)[0], &row[0], j)
			top, rest = T(t), T(r)
		}
	}
	for ; j < len(row); j++ {
		low[j], top, rest = min(low[j], row[j]), max(top, row[j]), rest+0*row[j]
	}
	if rest != 0 {
		return math.Inf(1)
	}
	return float64(top)
}

// markClosest sets the bits of all columns that may be among the eight of least reduced
// cost, about twenty, in a row of at least eight: the largest of the minima over every
// eighth column is an upper bound for these eight. It needs vector units.
func markClosest[T number](to []byte, row []T, v []float64) {
	n, inf := len(row)&^7, math.Inf(1)
	low := [8]float64{inf, inf, inf, inf, inf, inf, inf, inf}
	switch row := any(row).(type) {
	case []float64:
		groupMinimaAVX(&row[0], &v[0], n, &low)
	case []float32:
		groupMinimaSingleAVX(&row[0], &v[0], n, &low)
	}
	markUpTo(to, row, v, slices.Max(low[:]))
}

// markUpTo sets the bits of all columns whose reduced cost is at most the limit, in a row
// of at least eight, and those of the columns that fill no vector. It needs vector units.
func markUpTo[T number](to []byte, row []T, v []float64, limit float64) {
	n := len(row) &^ 7
	switch row := any(row).(type) {
	case []float64:
		markAVX(&row[0], &v[0], n, limit, &to[0])
	case []float32:
		markSingleAVX(&row[0], &v[0], n, limit, &to[0])
	}
	if n < len(row) {
		to[n/8] = 0xff
	}
}

// leastTwo returns the two least reduced costs of a few columns, at most 64, and sets the
// bits of those that have them. Where several have the least, first has all their bits, and
// second has none.
func leastTwo[T number](costs []T, columns []int32, v []float64) (d1, d2 float64, first, second uint64) {
	if hasVectorUnits && len(costs) == 8 {
		switch costs := any(costs).(type) {
		case []float64:
			d1, d2, first, second = leastTwoAVX(&costs[0], &columns[0], &v[0])
		case []float32:
			d1, d2, first, second = leastTwoSingleAVX(&costs[0], &columns[0], &v[0])
		}
		if first&(first-1) != 0 {
			return d1, d1, first, 0
		}
		return d1, d2, first, second
	}
	d1, d2 = math.Inf(1), math.Inf(1)
	for k, j := range columns {
		switch d, bit := float64(costs[k])-v[j], uint64(1)<<k; {
		case d < d1:
			d2, second = d1, first
			d1, first = d, bit
		case d == d1:
			first |= bit
		case d < d2:
			d2, second = d, bit
		case d == d2:
			second |= bit
		}
	}
	if first&(first-1) != 0 {
		return d1, d1, first, 0
	}
	return d1, d2, first, second
}
