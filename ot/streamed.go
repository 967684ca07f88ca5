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
	rows    costRows
	reg     float64
	top     float64 // largest cost
	a, b    []float64

	f, g, oldF  []float64
	columnSums  []float64   // of P [m]
	partialSums [][]float64 // column sums of every group of blocks [groups][m]
	rowErrors   []float64   // change of every row sum in the last update [n]
	rowTotals   []float64   // row sums before the last update [n]
}

// newStreamed checks a problem and starts from potentials of zero. It also returns the
// total mass.
func newStreamed(ctx context.Context, f Features) (*streamed, float64, error) {
	if err := contextError(ctx); err != nil {
		return nil, 0, err
	}
	rows, err := f.rows()
	if err != nil {
		return nil, 0, err
	}
	in := &instance{n: rows.n, m: rows.m}
	if err := in.readMasses(f.A, f.B); err != nil {
		return nil, 0, err
	}
	in.a, in.b = in.fullA, in.fullB
	if err := in.balanced(); err != nil {
		return nil, 0, err
	}
	for _, side := range []struct {
		field string
		mass  []float64
	}{{"A", in.a}, {"B", in.b}} {
		for i, v := range side.mass {
			if v == 0 {
				return nil, 0, badEntry(side.field, i, -1, v, ErrEmpty)
			}
		}
	}
	k := &streamed{
		ctx: ctx, problem: in, rows: rows, a: make([]float64, in.n), b: make([]float64, in.m),
		f: make([]float64, in.n), g: make([]float64, in.m), oldF: make([]float64, in.n),
		columnSums: make([]float64, in.m), partialSums: make([][]float64, min(rows.blocks(), 16)),
		rowErrors: make([]float64, in.n), rowTotals: make([]float64, in.n),
	}
	relativeMasses(k.a, in.a, in.totalA)
	relativeMasses(k.b, in.b, in.totalB)
	for i := range k.partialSums {
		k.partialSums[i] = make([]float64, in.m)
	}
	tops := make([]float64, rows.blocks())
	if err := rows.each(ctx, func(b int, cost []float64) error {
		tops[b] = floats.Max(cost)
		return nil
	}); err != nil {
		return nil, 0, err
	}
	k.top = floats.Max(tops)
	return k, in.totalA, nil
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
	if floats.Norm(v, math.Inf(1)) <= 2*(k.top+1500*c.reg) {
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

// eachRow calls f for every row of the cost, with the column sums of its group to add to.
// Groups are cut and added up in the same way at any GOMAXPROCS.
func (k *streamed) eachRow(f func(i int, cost, scratch, sums []float64)) error {
	groups, m := len(k.partialSums), k.rows.m
	failed := make([]error, groups)
	err := runBlocks(k.ctx, groups, k.rows.n*m, func(group int) {
		sums, scratch := k.partialSums[group], make([]float64, 2*m)
		setAll(sums, 0)
		lo, hi := blockRange(k.rows.blocks(), groups, group)
		for b := lo; b < hi && failed[group] == nil; b++ {
			cost, err := k.rows.block(k.ctx, b)
			if failed[group] = err; err != nil {
				return
			}
			for l := range len(cost) / m {
				f(b*blockRows+l, cost[l*m:(l+1)*m], scratch, sums)
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
		row, unused := scratch[:k.rows.m], scratch[k.rows.m:]
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
func (k *streamed) result(total float64) (FeaturesResult, error) {
	objectives, negentropies := make([]float64, k.rows.n), make([]float64, k.rows.n)
	err := k.eachRow(func(i int, cost, scratch, sums []float64) {
		row := scratch[:k.rows.m]
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
		Duals: Duals{U: k.f, V: k.g}, Reg: k.reg, Iterations: k.iterations, rows: k.rows,
		Objective: total * floats.Sum(objectives), a: make([]float64, k.rows.n),
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
