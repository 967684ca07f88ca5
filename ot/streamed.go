package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
)

// streamed is the state of a scaling iteration that stores no kernel,
//
//	Pᵢⱼ = exp((fᵢ + gⱼ − Cᵢⱼ) / ε)
//
// with masses relative to their totals.
type streamed struct {
	progress
	ctx     context.Context
	problem *instance // without costs
	source  costSource
	n, m    int
	reg     float64
	top     float64 // largest cost
	a, b    []float64

	f, g, oldF  []float64
	columnSums  []float64      // of P [m]
	partialSums [][]float64    // column sums of every group of blocks [groups][m]
	rowErrors   []float64      // change of every row sum in the last update [n]
	rowTotals   []float64      // row sums before the last update [n]
	spare       chan []float64 // rows that nobody works with, 3 m numbers each
}

// costSource makes the rows of a cost [n × m] in blocks.
type costSource interface {
	blockRows() int // rows of a block; the last may have fewer

	// block returns block b. It may write a row to space [m] and return that.
	block(ctx context.Context, b int, space []float64) ([]float64, error)
}

// denseRows is the source of a cost that is stored. A block is one row.
type denseRows[T number] struct {
	cost []T
	m    int
}

func (denseRows[T]) blockRows() int { return 1 }

func (d denseRows[T]) block(_ context.Context, i int, space []float64) ([]float64, error) {
	row := d.cost[i*d.m : (i+1)*d.m]
	if row, ok := any(row).([]float64); ok {
		return row, nil
	}
	for j, c := range row {
		space[j] = float64(c)
	}
	return space, nil
}

// newStreamed starts from potentials of zero, with the masses of in.
func newStreamed(ctx context.Context, in *instance, source costSource) *streamed {
	n, m := in.n, in.m
	vec := func(k int) []float64 { return make([]float64, k) }
	k := &streamed{
		ctx: ctx, problem: in, source: source, n: n, m: m, a: vec(n), b: vec(m), f: vec(n), g: vec(m), oldF: vec(n),
		columnSums: vec(m), rowErrors: vec(n), rowTotals: vec(n),
	}
	k.partialSums = make([][]float64, min(k.blocks(), 16))
	for i := range k.partialSums {
		k.partialSums[i] = vec(m)
	}
	k.spare = make(chan []float64, len(k.partialSums))
	relativeMasses(k.a, in.a, floats.Sum(in.a))
	relativeMasses(k.b, in.b, floats.Sum(in.b))
	return k
}

// blocks returns the number of blocks of rows.
func (k *streamed) blocks() int { return (k.n + k.source.blockRows() - 1) / k.source.blockRows() }

// readFeatures checks the masses of a problem with the given costs, and returns a streamed
// iteration for it.
func readFeatures(ctx context.Context, f Features, rows costRows) (*streamed, error) {
	in := &instance{n: rows.n, m: rows.m}
	if err := in.readMasses(f.A, f.B); err != nil {
		return nil, err
	}
	in.a, in.b = in.fullA, in.fullB
	if err := in.balanced(); err != nil {
		return nil, err
	}
	for _, side := range []struct {
		field string
		mass  []float64
	}{{"A", in.a}, {"B", in.b}} {
		for i, v := range side.mass {
			if v == 0 {
				return nil, badEntry(side.field, i, -1, v, ErrEmpty)
			}
		}
	}
	k := newStreamed(ctx, in, rows)
	tops := make([]float64, rows.blocks())
	if err := rows.each(ctx, func(b int, cost []float64) error {
		tops[b] = floats.Max(cost)
		return nil
	}); err != nil {
		return nil, err
	}
	k.top = floats.Max(tops)
	return k, nil
}

// startFrom starts from the potentials of the columns of a similar problem.
func (k *streamed) startFrom(c control, start *Duals) error {
	v, err := k.problem.startPotentials(start)
	if err != nil {
		return err
	}
	if err := c.checkReg(k.top); err != nil {
		return err
	}
	if floats.Norm(v, math.Inf(1)) <= min(2*(k.top+1500*c.reg), maxTotal) {
		copy(k.g, v) // larger ones would hide the costs behind their rounding
	}
	k.reg = c.reg
	r := relaxation{tol: c.tol, limit: c.limit}
	return r.run(k)
}

func (k *streamed) largestCost() float64 { return k.top }

// tighten has nothing to do, because rows are updated in the log domain.
func (k *streamed) tighten() error { return nil }

func (k *streamed) setReg(reg float64) error {
	k.reg = reg
	return nil
}

func (k *streamed) restoreRows() error {
	copy(k.f, k.oldF)
	return nil
}

// spareRows returns rows to work with, new ones where all others are in use.
func (k *streamed) spareRows() []float64 {
	select {
	case rows := <-k.spare:
		return rows
	default:
		return make([]float64, 3*k.m)
	}
}

// eachRow calls f for every row of the cost, with the column sums of its group to add to.
// Groups are cut and added up in the same way at any GOMAXPROCS.
func (k *streamed) eachRow(f func(i int, cost, scratch, sums []float64)) error {
	groups, m := len(k.partialSums), k.m
	failed := make([]error, groups)
	err := runBlocks(k.ctx, groups, k.n*m, func(group int) {
		sums, scratch := k.partialSums[group], k.spareRows()
		defer func() { k.spare <- scratch }()
		setAll(sums, 0)
		lo, hi := blockRange(k.blocks(), groups, group)
		for b := lo; b < hi && failed[group] == nil; b++ {
			cost, err := k.source.block(k.ctx, b, scratch[2*m:])
			if failed[group] = err; err != nil {
				return
			}
			for l := range len(cost) / m {
				f(b*k.source.blockRows()+l, cost[l*m:(l+1)*m], scratch[:2*m], sums)
			}
			failed[group] = k.ctx.Err()
		}
	})
	for _, e := range failed {
		if e != nil {
			return e
		}
	}
	setAll(k.columnSums, 0)
	for _, sums := range k.partialSums {
		floats.Add(k.columnSums, sums)
	}
	return err
}

// updateRows is that of [kernel], in the log domain: fᵢ moves towards
// ε (log aᵢ − log Σⱼ exp((gⱼ − Cᵢⱼ)/ε)), over-relaxed by ω.
func (k *streamed) updateRows(omega float64) error {
	copy(k.oldF, k.f)
	err := k.eachRow(func(i int, cost, scratch, sums []float64) {
		row, unused := scratch[:k.m], scratch[k.m:]
		below, _ := leastReducedCost(cost, k.g)
		expRow(row, cost, k.g, unused, below, 1/k.reg)
		sum := floats.Sum(row)
		full := k.reg*(math.Log(k.a[i])-math.Log(sum)) + below
		k.rowTotals[i] = math.Exp((k.f[i]-below)/k.reg) * sum
		k.rowErrors[i] = math.Abs(k.rowTotals[i] - k.a[i])
		k.f[i] += omega * (full - k.f[i])
		axpy(math.Exp(min((k.f[i]-below)/k.reg, maxExponent/2)), row, sums)
	})
	if err != nil {
		return err
	}
	k.residual = math.Inf(1)
	if total := floats.Sum(k.rowTotals); total > 0 {
		k.residual = floats.Sum(k.rowErrors) / total
	}
	return nil
}

// updateColumns moves gⱼ towards the potential at which column j has its mass.
func (k *streamed) updateColumns(omega float64) error {
	for j, sum := range k.columnSums {
		// A column whose sum underflows is farther away than its potential can say, which
		// rises by as much as is sure.
		k.g[j] += omega * k.reg * (math.Log(k.b[j]) - math.Log(max(sum, 0x1p-1000)))
	}
	return nil
}

// result describes the plan of the given total mass.
func (k *streamed) result(rows costRows, total float64) (FeaturesResult, error) {
	objectives, negentropies := make([]float64, k.n), make([]float64, k.n)
	err := k.eachRow(func(i int, cost, scratch, sums []float64) {
		row := scratch[:k.m]
		expRow(row, cost, k.g, sums, k.f[i], 1/k.reg)
		var sum float64
		for j, p := range row {
			if p > 0 {
				sum += p
				objectives[i] += p * cost[j]
				negentropies[i] += p * ((k.f[i]+k.g[j]-cost[j])/k.reg + math.Log(total) - 1)
			}
		}
		k.rowErrors[i] = math.Abs(sum - k.a[i])
	})
	r := FeaturesResult{
		Duals: Duals{U: k.f, V: k.g}, Reg: k.reg, Iterations: k.iterations, rows: rows,
		Objective: total * floats.Sum(objectives), a: make([]float64, k.n),
	}
	var columns float64
	for j, sum := range k.columnSums {
		columns += math.Abs(sum - k.b[j])
	}
	r.Residual = max(floats.Sum(k.rowErrors), columns)
	r.Regularised = r.Objective + k.reg*total*floats.Sum(negentropies)
	floats.AddConst(k.reg*math.Log(total), r.Duals.U)
	floats.ScaleTo(r.a, total, k.a)
	return r, err
}
