package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
)

const (
	reach = 1e50 // scalings beyond it, or its inverse, are absorbed

	faint = -45 // exponents below it do not count in a sum of 1 and more
)

// kernel is the coupling of a scaling iteration,
//
//	Pᵢⱼ = uᵢ Kᵢⱼ vⱼ,  Kᵢⱼ = exp((fᵢ + gⱼ − Cᵢⱼ) / ε)
//
// towards the masses a, b. An iteration is one pass over K: rows, which also
// gathers what columns needs.
type kernel struct {
	ctx  context.Context
	in   *instance
	n, m int
	reg  float64   // ε
	a, b []float64 // masses, relative to a total

	rowStep, columnStep step // nil is the one that meets the masses

	f, g []float64 // potentials, units of the cost
	k    []float64 // [n × m]
	u, v []float64
	part []float64 // sums over the columns of every block of rows [parts × m]
	cuts int       // blocks of rows
	sums []float64 // of the columns, Kᵀu
	errs []float64 // changes of the row sums
	tots []float64 // row sums

	count    int     // iterations done
	residual float64 // of the last update of the rows

	// state before the last update of the rows
	oldU, oldF, oldV []float64
	rebuilt          bool
}

// step gives the next fᵢ/ε from log aᵢ and log Σⱼ exp((gⱼ − Cᵢⱼ)/ε), and
// likewise for columns.
type step func(logMass, logSum float64) float64

// newKernel starts from potentials 0. Masses are relative to the totals suma,
// sumb.
func newKernel(ctx context.Context, in *instance, suma, sumb float64) *kernel {
	n, m := in.n, in.m
	vec := func(k int) []float64 { return make([]float64, k) }
	k := &kernel{
		ctx: ctx, in: in, n: n, m: m, a: vec(n), b: vec(m), f: vec(n), g: vec(m), k: vec(n * m),
		u: vec(n), v: vec(m), sums: vec(m), errs: vec(n), tots: vec(n), oldU: vec(n), oldF: vec(n), oldV: vec(m),
		cuts: min(n, 1+n*m/(2*grain), 32),
	}
	k.part = vec(k.cuts * m)
	shares(k.a, in.a, suma)
	shares(k.b, in.b, sumb)
	fill(k.u, 1)
	fill(k.v, 1)
	return k
}

// shares writes masses relative to a total, none so small that it is lost.
func shares(out, w []float64, total float64) {
	for i, v := range w {
		out[i] = max(v/total, 0x1p-1022)
	}
}

// tighten starts from the largest potentials with f + g ≤ C: every row and
// column then has an entry Cᵢⱼ = fᵢ + gⱼ, so that none is empty at any ε.
func (k *kernel) tighten() (err error) {
	k.f, err = tightened(k.ctx, k.in.cost, k.g)
	return err
}

func (k *kernel) cost(i int) []float64 { return k.in.cost[i*k.m : (i+1)*k.m] }
func (k *kernel) row(i int) []float64  { return k.k[i*k.m : (i+1)*k.m] }

func fill(x []float64, v float64) {
	for i := range x {
		x[i] = v
	}
}

// set changes ε.
func (k *kernel) set(reg float64) error {
	k.absorb()
	k.reg = reg
	return k.build()
}

// absorb moves the scalings into the potentials.
func (k *kernel) absorb() {
	for i, u := range k.u {
		k.f[i] += k.reg * math.Log(u)
	}
	for j, v := range k.v {
		k.g[j] += k.reg * math.Log(v)
	}
	fill(k.u, 1)
	fill(k.v, 1)
}

// build computes K and its column sums from the potentials.
func (k *kernel) build() error {
	return k.pass(func(i int, sums []float64) {
		expRow(k.row(i), k.cost(i), k.g, sums, k.f[i], 1/k.reg)
	})
}

// pass calls f once for every row, with the sums of its block to add to.
func (k *kernel) pass(f func(i int, sums []float64)) error {
	err := blocks(k.ctx, k.cuts, k.n*k.m, func(b int) {
		sums := k.part[b*k.m : (b+1)*k.m]
		fill(sums, 0)
		lo, hi := span(k.n, k.cuts, b)
		for i := lo; i < hi; i++ {
			f(i, sums)
		}
	})
	fill(k.sums, 0)
	for b := range k.cuts {
		floats.Add(k.sums, k.part[b*k.m:(b+1)*k.m])
	}
	return err
}

// rows scales the rows to their masses, uᵢ ← uᵢ (aᵢ/(uᵢ (Kv)ᵢ))^ω, and notes
// how far that is: Σᵢ |change of the sum of row i| at ω = 1, relative to the
// mass of the plan.
func (k *kernel) rows(omega float64) error {
	copy(k.oldU, k.u)
	k.rebuilt = false
	err := k.pass(func(i int, sums []float64) {
		row := k.row(i)
		s := dot(row, k.v)
		full := k.full(k.rowStep, k.a[i], s, k.f[i])
		k.errs[i] = math.Abs(k.u[i]-full) * s
		k.tots[i] = k.u[i] * s
		k.u[i] = relaxed(k.u[i], full, omega)
		axpy(k.u[i], row, sums)
	})
	if err != nil {
		return err
	}
	if !held(k.u) {
		copy(k.u, k.oldU)
		k.absorb()
		copy(k.oldF, k.f)
		k.rebuilt = true
		if err := k.logRows(); err != nil {
			return err
		}
		err = k.build()
	}
	k.residual = math.Inf(1)
	if total := floats.Sum(k.tots); total > 0 {
		k.residual = floats.Sum(k.errs) / total
	}
	return err
}

// keep goes back to the rows before their last update.
func (k *kernel) keep() error {
	if !k.rebuilt {
		copy(k.u, k.oldU)
		return nil
	}
	copy(k.f, k.oldF)
	return k.build()
}

// columns scales the columns to their masses, vⱼ ← vⱼ (bⱼ/(vⱼ (Kᵀu)ⱼ))^ω.
func (k *kernel) columns(omega float64) error {
	copy(k.oldV, k.v)
	for j, s := range k.sums {
		k.v[j] = relaxed(k.v[j], k.full(k.columnStep, k.b[j], s, k.g[j]), omega)
	}
	if held(k.v) {
		return nil
	}
	copy(k.v, k.oldV)
	k.absorb()
	if err := k.logColumns(); err != nil {
		return err
	}
	return k.build()
}

// full is the scaling that the next step gives to a row or column of mass w
// and potential f whose kernel sums to s.
func (k *kernel) full(next step, w, s, f float64) float64 {
	if next == nil {
		return w / s
	}
	return math.Exp(next(math.Log(w), math.Log(s)-f/k.reg) - f/k.reg)
}

// relaxed is x (full/x)^ω.
func relaxed(x, full, omega float64) float64 {
	if omega == 1 {
		return full
	}
	return x * math.Exp(omega*math.Log(full/x))
}

// held reports whether all scalings are within reach.
func held(x []float64) bool {
	for _, v := range x {
		if !(v < reach && v > 1/reach) {
			return false
		}
	}
	return true
}

// coupling returns P for masses with the given total, in the place of K, and
// the larger L1 error of its marginals, relative to the total.
func (k *kernel) coupling(total float64) (mass []float64, residual float64, err error) {
	err = k.pass(func(i int, sums []float64) {
		row, u := k.row(i), k.u[i]*total
		var sum float64
		for j, v := range k.v {
			p := row[j] * u * v
			row[j] = p
			sum += p
			sums[j] += p
		}
		k.errs[i] = math.Abs(sum - k.a[i]*total)
	})
	var cols float64
	for j, sum := range k.sums {
		cols += math.Abs(sum - k.b[j]*total)
	}
	return k.k, max(floats.Sum(k.errs), cols) / total, err
}
