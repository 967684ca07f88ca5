package ot

import "math"

// logRows sets fᵢ = ε (log aᵢ − log Σⱼ exp((gⱼ − Cᵢⱼ)/ε)).
func (k *kernel) logRows() error {
	return blocks(k.ctx, k.cuts, k.n*k.m, func(b int) {
		lo, hi := span(k.n, k.cuts, b)
		for i := lo; i < hi; i++ {
			s, top := k.logSum(i)
			k.logRow(i, s, top)
		}
	})
}

// logSum returns log Σⱼ exp((gⱼ − Cᵢⱼ − top)/ε) and top = maxⱼ gⱼ − Cᵢⱼ.
func (k *kernel) logSum(i int) (log, top float64) {
	row := k.cost(i)
	top = math.Inf(-1)
	for j, c := range row {
		top = max(top, k.g[j]-c)
	}
	var s float64
	for j, c := range row {
		if x := (k.g[j] - c - top) / k.reg; x > faint {
			s += math.Exp(x)
		}
	}
	return math.Log(s), top
}

// logRow takes the log of the sum of row i, less top/ε.
func (k *kernel) logRow(i int, sum, top float64) {
	f := k.potential(k.a[i], sum, top)
	k.tots[i] = math.Exp((k.f[i]+top)/k.reg + sum)
	k.errs[i] = k.change(k.f[i], f, sum, top)
	k.f[i] = f
}

// change is how far the mass of a row or column moves with its potential.
func (k *kernel) change(from, to, sum, top float64) float64 {
	return math.Exp((max(from, to)+top)/k.reg+sum) * -math.Expm1(-math.Abs(from-to)/k.reg)
}

// potential is the next one of a row or column of mass w.
func (k *kernel) potential(w, sum, top float64) float64 {
	if k.next == nil {
		return k.reg*(math.Log(w)-sum) - top // apart, for the digits
	}
	return k.reg * k.next(math.Log(w), sum+top/k.reg)
}

// logColumns sets gⱼ = ε (log bⱼ − log Σᵢ exp((fᵢ − Cᵢⱼ)/ε)), by strips of
// columns so that it, too, runs along rows, and leaves in sums how far the
// columns move.
func (k *kernel) logColumns() error {
	const strip = 256
	return blocks(k.ctx, (k.m+strip-1)/strip, k.n*k.m, func(b int) {
		lo, hi := b*strip, min(k.m, (b+1)*strip)
		top, s := make([]float64, hi-lo), make([]float64, hi-lo)
		fill(top, math.Inf(-1))
		for i, f := range k.f {
			for j, c := range k.cost(i)[lo:hi] {
				top[j] = max(top[j], f-c)
			}
		}
		for i, f := range k.f {
			for j, c := range k.cost(i)[lo:hi] {
				if x := (f - c - top[j]) / k.reg; x > faint {
					s[j] += math.Exp(x)
				}
			}
		}
		for j := range s {
			g := k.potential(k.b[lo+j], math.Log(s[j]), top[j])
			k.sums[lo+j] = k.change(k.g[lo+j], g, math.Log(s[j]), top[j])
			k.g[lo+j] = g
		}
	})
}

// logSums writes log Σⱼ exp((gⱼ − Cᵢⱼ)/ε) for every row.
func (k *kernel) logSums(out []float64) error {
	return blocks(k.ctx, k.cuts, k.n*k.m, func(b int) {
		lo, hi := span(k.n, k.cuts, b)
		for i := lo; i < hi; i++ {
			s, top := k.logSum(i)
			out[i] = s + top/k.reg
		}
	})
}

// logTotal returns log Σᵢⱼ exp((fᵢ + gⱼ − Cᵢⱼ) / ε).
func (k *kernel) logTotal() (float64, error) {
	tops, sums := make([]float64, k.cuts), make([]float64, k.cuts)
	err := blocks(k.ctx, k.cuts, k.n*k.m, func(b int) {
		lo, hi := span(k.n, k.cuts, b)
		top, s := math.Inf(-1), 0.0
		for i := lo; i < hi; i++ {
			for j, c := range k.cost(i) {
				top = max(top, k.f[i]+k.g[j]-c)
			}
		}
		for i := lo; i < hi; i++ {
			for j, c := range k.cost(i) {
				if x := (k.f[i] + k.g[j] - c - top) / k.reg; x > faint {
					s += math.Exp(x)
				}
			}
		}
		tops[b], sums[b] = top, s
	})
	var s float64
	top := math.Inf(-1)
	for _, v := range tops {
		top = max(top, v)
	}
	for b, v := range sums {
		s += v * math.Exp((tops[b]-top)/k.reg)
	}
	return math.Log(s) + top/k.reg, err
}
