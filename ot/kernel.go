package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
)

// maxScaling bounds scalings and their inverses. Scalings beyond it are absorbed
// into the potentials, so that products of two of them and a mass stay finite.
const maxScaling = 1e50

// kernel is the state of a scaling iteration, a coupling
//
//	Pᵢⱼ = uᵢ Kᵢⱼ vⱼ,  Kᵢⱼ = exp((fᵢ + gⱼ − Cᵢⱼ) / ε)
//
// that approaches the marginals a, b. An iteration makes one pass over K: updateRows
// also gathers the column sums that updateColumns needs.
type kernel struct {
	ctx     context.Context
	problem *instance
	n, m    int
	reg     float64   // ε
	a, b    []float64 // masses, relative to a total

	rowStep, columnStep updateRule // nil meets the masses exactly

	f, g        []float64 // potentials, units of the cost
	entries     []float64 // K [n × m]
	u, v        []float64
	partialSums []float64 // column sums of every block of rows [blocks × m]
	blockCount  int       // blocks of rows
	columnSums  []float64 // Kᵀu [m]
	rowErrors   []float64 // change of every row sum in the last update [n]
	rowTotals   []float64 // row sums before the last update [n]

	progress

	// The state before the last update of the rows, for restoreRows.
	oldU, oldF, oldV []float64
	rebuilt          bool
}

// progress is how far a scaling iteration has come.
type progress struct {
	iterations int     // number of updates of both sides so far
	residual   float64 // relative change of the row sums in the last update
}

func (p *progress) state() *progress { return p }

// updateRule returns the next fᵢ/ε from log aᵢ and log Σⱼ exp((gⱼ − Cᵢⱼ)/ε). For a
// column it returns gⱼ/ε from log bⱼ and log Σᵢ exp((fᵢ − Cᵢⱼ)/ε).
type updateRule func(logMass, logSum float64) float64

// newKernel starts from potentials of zero. Its masses are those of in divided by the
// totals given.
func newKernel(ctx context.Context, in *instance, totalA, totalB float64) *kernel {
	n, m := in.n, in.m
	vec := func(k int) []float64 { return make([]float64, k) }
	k := &kernel{
		ctx: ctx, problem: in, n: n, m: m, a: vec(n), b: vec(m), f: vec(n), g: vec(m), entries: vec(n * m),
		u: vec(n), v: vec(m), columnSums: vec(m), rowErrors: vec(n), rowTotals: vec(n),
		oldU: vec(n), oldF: vec(n), oldV: vec(m),
		blockCount: min(n, 1+n*m/(2*minParallelEntries), 32),
	}
	k.partialSums = vec(k.blockCount * m)
	relativeMasses(k.a, in.a, totalA)
	relativeMasses(k.b, in.b, totalB)
	setAll(k.u, 1)
	setAll(k.v, 1)
	return k
}

// relativeMasses writes w divided by its total to out. Masses stay above the denormal
// numbers, because their logarithms and inverses are taken.
func relativeMasses(out, w []float64, total float64) {
	for i, v := range w {
		out[i] = max(v/total, 0x1p-1022)
	}
}

// tighten starts from the largest potentials with f + g ≤ C. Every row and column
// then has an entry with Cᵢⱼ = fᵢ + gⱼ, so that no row or column of K underflows to
// zero at any ε.
func (k *kernel) tighten() (err error) {
	k.f, err = tightenPotentials(k.ctx, k.problem.cost, k.g)
	return err
}

func (k *kernel) largestCost() float64 { return k.problem.maxCost }

// costRow returns row i of the cost, entriesRow row i of K.
func (k *kernel) costRow(i int) []float64    { return k.problem.cost[i*k.m : (i+1)*k.m] }
func (k *kernel) entriesRow(i int) []float64 { return k.entries[i*k.m : (i+1)*k.m] }

// setAll sets all entries of x to v.
func setAll(x []float64, v float64) {
	for i := range x {
		x[i] = v
	}
}

// setReg changes ε and keeps the potentials.
func (k *kernel) setReg(reg float64) error {
	k.absorb()
	k.reg = reg
	return k.build()
}

// absorb moves the scalings into the potentials, fᵢ ← fᵢ + ε log uᵢ and
// gⱼ ← gⱼ + ε log vⱼ. The entries of K are those of the old potentials until build.
func (k *kernel) absorb() {
	for i, u := range k.u {
		k.f[i] += k.reg * math.Log(u)
	}
	for j, v := range k.v {
		k.g[j] += k.reg * math.Log(v)
	}
	setAll(k.u, 1)
	setAll(k.v, 1)
}

// build computes K and its column sums from the potentials.
func (k *kernel) build() error {
	return k.eachRow(func(i int, sums []float64) {
		expRow(k.entriesRow(i), k.costRow(i), k.g, sums, k.f[i], 1/k.reg)
	})
}

// eachRow calls f once for every row, with the column sums of its block to add to.
// Blocks are cut and added up in the same way at any GOMAXPROCS.
func (k *kernel) eachRow(f func(i int, sums []float64)) error {
	err := runBlocks(k.ctx, k.blockCount, k.n*k.m, func(b int) {
		sums := k.partialSums[b*k.m : (b+1)*k.m]
		setAll(sums, 0)
		lo, hi := blockRange(k.n, k.blockCount, b)
		for i := lo; i < hi; i++ {
			f(i, sums)
		}
	})
	setAll(k.columnSums, 0)
	for b := range k.blockCount {
		floats.Add(k.columnSums, k.partialSums[b*k.m:(b+1)*k.m])
	}
	return err
}

// updateRows scales the rows to their masses, uᵢ ← uᵢ (aᵢ/(uᵢ (Kv)ᵢ))^ω. It sets the
// residual to the change that a plain update makes, Σᵢ |change of the sum of row i| at
// ω = 1, relative to the mass of the plan.
func (k *kernel) updateRows(omega float64) error {
	copy(k.oldU, k.u)
	k.rebuilt = false
	err := k.eachRow(func(i int, sums []float64) {
		row := k.entriesRow(i)
		s := dot(row, k.v)
		full := k.nextScaling(k.rowStep, k.a[i], s, k.f[i])
		k.rowErrors[i] = math.Abs(k.u[i]-full) * s
		k.rowTotals[i] = k.u[i] * s
		k.u[i] = overRelaxed(k.u[i], full, omega)
		axpy(k.u[i], row, sums)
	})
	if err != nil {
		return err
	}
	if !inRange(k.u) {
		copy(k.u, k.oldU)
		k.absorb()
		copy(k.oldF, k.f)
		k.rebuilt = true
		if err := k.updateLogRows(); err != nil {
			return err
		}
		err = k.build()
	}
	k.residual = math.Inf(1)
	if total := floats.Sum(k.rowTotals); total > 0 {
		k.residual = floats.Sum(k.rowErrors) / total
	}
	return err
}

// restoreRows undoes the last update of the rows.
func (k *kernel) restoreRows() error {
	if !k.rebuilt {
		copy(k.u, k.oldU)
		return nil
	}
	copy(k.f, k.oldF)
	return k.build()
}

// updateColumns scales the columns to their masses, vⱼ ← vⱼ (bⱼ/(vⱼ (Kᵀu)ⱼ))^ω.
func (k *kernel) updateColumns(omega float64) error {
	copy(k.oldV, k.v)
	for j, s := range k.columnSums {
		k.v[j] = overRelaxed(k.v[j], k.nextScaling(k.columnStep, k.b[j], s, k.g[j]), omega)
	}
	if inRange(k.v) {
		return nil
	}
	copy(k.v, k.oldV)
	k.absorb()
	if err := k.updateLogColumns(); err != nil {
		return err
	}
	return k.build()
}

// nextScaling returns the scaling of a row or column with mass w, potential f and
// kernel sum s after an update by the rule next.
func (k *kernel) nextScaling(next updateRule, w, s, f float64) float64 {
	if next == nil {
		return w / s
	}
	return math.Exp(next(math.Log(w), math.Log(s)-f/k.reg) - f/k.reg)
}

// overRelaxed returns x (full/x)^ω, the step from x to full extended by the factor ω
// in the logarithm.
func overRelaxed(x, full, omega float64) float64 {
	if omega == 1 {
		return full
	}
	return x * math.Exp(omega*math.Log(full/x))
}

// inRange reports whether all scalings and their inverses are below maxScaling.
func inRange(x []float64) bool {
	for _, v := range x {
		if !(v < maxScaling && v > 1/maxScaling) {
			return false
		}
	}
	return true
}

// coupling returns P for masses with the given total, and the larger L1 error of its
// two marginals, relative to the total. P overwrites the entries of K.
func (k *kernel) coupling(total float64) (mass []float64, residual float64, err error) {
	err = k.eachRow(func(i int, sums []float64) {
		row, u := k.entriesRow(i), k.u[i]
		var sum float64
		for j, v := range k.v {
			p := row[j] * u * v * total // u alone times the total may be beyond floating point
			row[j] = p
			sum += p
			sums[j] += p
		}
		k.rowErrors[i] = math.Abs(sum - k.a[i]*total)
	})
	var cols float64
	for j, sum := range k.columnSums {
		cols += math.Abs(sum - k.b[j]*total)
	}
	return k.entries, max(floats.Sum(k.rowErrors), cols) / total, err
}
