package ot

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// updateLogRows updates the potentials of the rows in the log domain, where nothing
// overflows: fᵢ = ε (log aᵢ − log Σⱼ exp((gⱼ − Cᵢⱼ)/ε)).
func (k *kernel) updateLogRows() error { return k.eachLogSum(k.updateLogRow) }

// eachLogSum calls f for every row i with sum = log Σⱼ exp((gⱼ − Cᵢⱼ − top)/ε) and
// top = maxⱼ (gⱼ − Cᵢⱼ). The largest exponent of a sum is then zero.
func (k *kernel) eachLogSum(f func(i int, sum, top float64)) error {
	return runBlocks(k.ctx, k.blockCount, k.n*k.m, func(b int) {
		row, unused := make([]float64, k.m), make([]float64, k.m)
		lo, hi := blockRange(k.n, k.blockCount, b)
		for i := lo; i < hi; i++ {
			below, _ := leastReducedCost(k.costRow(i), k.g)
			expRow(row, k.costRow(i), k.g, unused, below, 1/k.reg)
			f(i, math.Log(floats.Sum(row)), -below)
		}
	})
}

// updateLogRow updates row i from the logarithm of its sum, which eachLogSum gives.
func (k *kernel) updateLogRow(i int, sum, top float64) {
	f := k.nextPotential(k.rowStep, k.a[i], sum, top)
	k.rowTotals[i] = math.Exp((k.f[i]+top)/k.reg + sum)
	k.rowErrors[i] = k.massChange(k.f[i], f, sum, top)
	k.f[i] = f
}

// massChange returns by how much the mass of a row or column changes when its
// potential goes from one value to another: |exp((to + top)/ε + sum) − exp((from +
// top)/ε + sum)|, computed without cancellation.
func (k *kernel) massChange(from, to, sum, top float64) float64 {
	return math.Exp((max(from, to)+top)/k.reg+sum) * -math.Expm1(-math.Abs(from-to)/k.reg)
}

// nextPotential returns the potential of a row or column with mass w after an update
// by the rule next.
func (k *kernel) nextPotential(next updateRule, w, sum, top float64) float64 {
	if next == nil {
		return k.reg*(math.Log(w)-sum) - top // kept separate from the general case to avoid cancellation
	}
	return k.reg * next(math.Log(w), sum+top/k.reg)
}

// updateLogColumns updates the potentials of the columns in the log domain,
// gⱼ = ε (log bⱼ − log Σᵢ exp((fᵢ − Cᵢⱼ)/ε)), and writes the change of the mass of
// every column to columnSums. It works on strips of columns, so that it reads the
// cost along rows.
func (k *kernel) updateLogColumns() error {
	const strip = 256
	return runBlocks(k.ctx, (k.m+strip-1)/strip, k.n*k.m, func(b int) {
		lo, hi := b*strip, min(k.m, (b+1)*strip)
		below, s, row := constantVector(hi-lo, math.Inf(1)), make([]float64, hi-lo), make([]float64, hi-lo)
		for i, f := range k.f {
			for j, c := range k.costRow(i)[lo:hi] {
				if d := c - f; d < below[j] {
					below[j] = d
				}
			}
		}
		for i, f := range k.f {
			expRow(row, k.costRow(i)[lo:hi], below, s, f, 1/k.reg)
		}
		for j := range s {
			sum, top := math.Log(s[j]), -below[j]
			g := k.nextPotential(k.columnStep, k.b[lo+j], sum, top)
			k.columnSums[lo+j] = k.massChange(k.g[lo+j], g, sum, top)
			k.g[lo+j] = g
		}
	})
}
