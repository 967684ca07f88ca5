package ot

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// updateLogRows sets fᵢ = ε (log aᵢ − log Σⱼ exp((gⱼ − Cᵢⱼ)/ε)).
func (k *kernel) updateLogRows() error { return k.eachLogSum(k.updateLogRow) }

// eachLogSum calls f for every row with log Σⱼ exp((gⱼ − Cᵢⱼ − top)/ε) and
// top = maxⱼ gⱼ − Cᵢⱼ.
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

// updateLogRow takes the log of the sum of row i, less top/ε.
func (k *kernel) updateLogRow(i int, sum, top float64) {
	f := k.nextPotential(k.rowStep, k.a[i], sum, top)
	k.rowTotals[i] = math.Exp((k.f[i]+top)/k.reg + sum)
	k.rowErrors[i] = k.massChange(k.f[i], f, sum, top)
	k.f[i] = f
}

// massChange is how far the mass of a row or column moves with its potential.
func (k *kernel) massChange(from, to, sum, top float64) float64 {
	return math.Exp((max(from, to)+top)/k.reg+sum) * -math.Expm1(-math.Abs(from-to)/k.reg)
}

// nextPotential is the next one of a row or column of mass w.
func (k *kernel) nextPotential(next updateRule, w, sum, top float64) float64 {
	if next == nil {
		return k.reg*(math.Log(w)-sum) - top // kept separate from the general case to avoid cancellation
	}
	return k.reg * next(math.Log(w), sum+top/k.reg)
}

// updateLogColumns sets gⱼ = ε (log bⱼ − log Σᵢ exp((fᵢ − Cᵢⱼ)/ε)), by strips of
// columns so that it, too, runs along rows, and leaves in sums how far the
// columns move.
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
