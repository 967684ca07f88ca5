package ot

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// logRows sets fᵢ = ε (log aᵢ − log Σⱼ exp((gⱼ − Cᵢⱼ)/ε)).
func (k *kernel) logRows() error { return k.logSums(k.logRow) }

// logSums calls f for every row with log Σⱼ exp((gⱼ − Cᵢⱼ − top)/ε) and
// top = maxⱼ gⱼ − Cᵢⱼ.
func (k *kernel) logSums(f func(i int, sum, top float64)) error {
	return blocks(k.ctx, k.cuts, k.n*k.m, func(b int) {
		row, unused := make([]float64, k.m), make([]float64, k.m)
		lo, hi := span(k.n, k.cuts, b)
		for i := lo; i < hi; i++ {
			below, _ := least(k.cost(i), k.g)
			expRow(row, k.cost(i), k.g, unused, below, 1/k.reg)
			f(i, math.Log(floats.Sum(row)), -below)
		}
	})
}

// logRow takes the log of the sum of row i, less top/ε.
func (k *kernel) logRow(i int, sum, top float64) {
	f := k.potential(k.rowStep, k.a[i], sum, top)
	k.tots[i] = math.Exp((k.f[i]+top)/k.reg + sum)
	k.errs[i] = k.change(k.f[i], f, sum, top)
	k.f[i] = f
}

// change is how far the mass of a row or column moves with its potential.
func (k *kernel) change(from, to, sum, top float64) float64 {
	return math.Exp((max(from, to)+top)/k.reg+sum) * -math.Expm1(-math.Abs(from-to)/k.reg)
}

// potential is the next one of a row or column of mass w.
func (k *kernel) potential(next step, w, sum, top float64) float64 {
	if next == nil {
		return k.reg*(math.Log(w)-sum) - top // kept separate from the general case to avoid cancellation
	}
	return k.reg * next(math.Log(w), sum+top/k.reg)
}

// logColumns sets gⱼ = ε (log bⱼ − log Σᵢ exp((fᵢ − Cᵢⱼ)/ε)), by strips of
// columns so that it, too, runs along rows, and leaves in sums how far the
// columns move.
func (k *kernel) logColumns() error {
	const strip = 256
	return blocks(k.ctx, (k.m+strip-1)/strip, k.n*k.m, func(b int) {
		lo, hi := b*strip, min(k.m, (b+1)*strip)
		below, s, row := filled(hi-lo, math.Inf(1)), make([]float64, hi-lo), make([]float64, hi-lo)
		for i, f := range k.f {
			for j, c := range k.cost(i)[lo:hi] {
				if d := c - f; d < below[j] {
					below[j] = d
				}
			}
		}
		for i, f := range k.f {
			expRow(row, k.cost(i)[lo:hi], below, s, f, 1/k.reg)
		}
		for j := range s {
			sum, top := math.Log(s[j]), -below[j]
			g := k.potential(k.columnStep, k.b[lo+j], sum, top)
			k.sums[lo+j] = k.change(k.g[lo+j], g, sum, top)
			k.g[lo+j] = g
		}
	})
}
