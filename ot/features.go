package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/mat"
)

// blockRows is the number of rows of the cost that are made at a time. It does not
// depend on GOMAXPROCS, so results do not either.
const blockRows = 64

// Features is a transport problem between units that are known by their features, for
// sizes at which a cost [n × m] of float64, or any cost at all, takes too much memory.
type Features struct {
	X, Y mat.Matrix // features of the units [n × d] and [m × d], finite

	// Metric gives the cost of two units, and may look at these two alone: one that is
	// [Scaled] gives an [*InvalidError]. Nil is [Euclidean].
	Metric Metric

	A, B []float64 // masses [n] and [m], of equal total; nil is uniform with total 1
}

// Cost returns the cost of all units, for [EMD]. It takes 4 n m bytes, and little beside
// them.
func (f Features) Cost(ctx context.Context) (DenseFloat32, error) {
	rows, err := f.rows()
	if err != nil {
		return DenseFloat32{}, err
	}
	n, m := rows.n, rows.m
	out := DenseFloat32{N: n, M: m, Data: make([]float32, n*m)}
	err = rows.each(ctx, func(b int, cost []float64) error {
		to := out.Data[b*blockRows*m:]
		for k, c := range cost {
			if to[k] = float32(c); math.IsInf(float64(to[k]), 0) {
				return badEntry("Cost", b*blockRows+k/m, k%m, c, ErrNotFinite)
			}
		}
		return nil
	})
	if err != nil {
		return DenseFloat32{}, err
	}
	return out, nil
}

// costRows makes the cost block by block.
type costRows struct {
	metric Metric
	x, y   *mat.Dense // [n × d], [m × d]
	n, m   int
}

// rows checks the features and the metric.
func (f Features) rows() (costRows, error) {
	r := costRows{metric: f.Metric}
	switch f.Metric.(type) {
	case nil:
		r.metric = Euclidean{}
	case Scaled, *Scaled:
		return r, invalid("Metric", ErrOption, "the scale of %T depends on all units", f.Metric)
	}
	x, n, d, err := features("X", f.X)
	if err != nil {
		return r, err
	}
	y, m, e, err := features("Y", f.Y)
	switch {
	case err != nil:
		return r, err
	case n == 0 || m == 0 || d == 0 || d != e:
		return r, invalid("Features", ErrShape, "%d × %d and %d × %d", n, d, m, e)
	}
	r.x, r.y, r.n, r.m = mat.NewDense(n, d, x), mat.NewDense(m, e, y), n, m
	return r, nil
}

// blocks returns the number of blocks of rows.
func (r costRows) blocks() int { return (r.n + blockRows - 1) / blockRows }

func (costRows) blockRows() int { return blockRows }

// block returns rows b·blockRows and following of the cost, checked.
func (r costRows) block(ctx context.Context, b int, _ []float64) ([]float64, error) {
	_, d := r.x.Dims()
	lo, hi := b*blockRows, min(r.n, (b+1)*blockRows)
	c, err := r.metric.Cost(NewGram(r.x.Slice(lo, hi, 0, d), r.y))
	if err != nil {
		return nil, err
	}
	data, n, m, err := rowMajor("Cost", c)
	if err != nil {
		return nil, err
	}
	if n != hi-lo || m != r.m {
		return nil, invalid("Metric", ErrShape, "%T returned a cost of %d × %d, want %d × %d", r.metric, n, m, hi-lo, r.m)
	}
	_, _, err = readCosts(ctx, data, m)
	return data, err
}

// each calls f for every block of the cost, several at a time.
func (r costRows) each(ctx context.Context, f func(b int, cost []float64) error) error {
	failed := make([]error, r.blocks())
	err := runBlocks(ctx, r.blocks(), r.n*r.m, func(b int) {
		cost, err := r.block(ctx, b, nil)
		if err == nil {
			err = f(b, cost)
		}
		failed[b] = err
	})
	for _, e := range failed {
		if e != nil {
			return e // the first, whichever goroutine was faster
		}
	}
	return err
}

// FeaturesResult is the answer of a solver that does not store its plan: potentials, from
// which the plan can be read block by block.
type FeaturesResult struct {
	Duals Duals // potentials of the plan, as in [Result]

	Reg         float64 // ε that was used, in units of the cost
	Objective   float64 // ⟨P, C⟩
	Regularised float64 // ⟨P, C⟩ + ε Σ P (log P − 1)
	Iterations  int     // over all ε, at most MaxIter
	Residual    float64 // L1 error of the row sums, relative to the total mass

	rows costRows
	a    []float64
}

// SolveFeatures is [Sinkhorn.SolveResult] for units that are known by their features. The
// cost and the kernel are made anew in every iteration, block by block, so that memory is
// O((n + m) d + n + m) beside a few blocks of 64 rows, and an iteration takes O(n m d)
// operations. It meets the masses of the columns exactly. Units without mass are not
// supported and give an [*InvalidError]; so does other invalid input. Where MaxIter is not
// enough, the potentials reached come with a [*NotConvergedError].
func (s Sinkhorn) SolveFeatures(ctx context.Context, f Features) (FeaturesResult, error) {
	c, err := control{s.Reg, s.Tol, s.MaxIter}.withDefaults()
	if err != nil {
		return FeaturesResult{}, err
	}
	if err := contextError(ctx); err != nil {
		return FeaturesResult{}, err
	}
	rows, err := f.rows()
	if err != nil {
		return FeaturesResult{}, err
	}
	k, err := readFeatures(ctx, f, rows)
	if err != nil {
		return FeaturesResult{}, err
	}
	c = c.withDefaultReg(k.top)
	if s.Start != nil {
		err = k.startFrom(c, s.Start)
	} else {
		err = c.anneal(k)
	}
	if err != nil {
		return FeaturesResult{}, err
	}
	r, err := k.result(rows, k.problem.totalA)
	if err != nil {
		return FeaturesResult{}, err
	}
	if r.Residual > c.tol {
		return r, &NotConvergedError{Iterations: r.Iterations, Residual: r.Residual}
	}
	return r, nil
}

// Project returns the barycentric projection of the source units onto points [m × d] of
// the target units, as [Plan.Project] does. Points that are not finite or of which there
// are not m give an [*InvalidError].
func (r FeaturesResult) Project(ctx context.Context, points mat.Matrix) (*mat.Dense, error) {
	data, m, d, err := features("points", points)
	if err != nil {
		return nil, err
	}
	if m == 0 || m != r.rows.m {
		return nil, invalid("points", ErrShape, "%d × %d for %d target units", m, d, r.rows.m)
	}
	y, out := mat.NewDense(m, d, data), mat.NewDense(r.rows.n, d, nil)
	return out, r.rows.each(ctx, func(b int, cost []float64) error {
		plan, unused := make([]float64, m), make([]float64, m)
		for k := range len(cost) / m {
			i := b*blockRows + k
			expRow(plan, cost[k*m:(k+1)*m], r.Duals.V, unused, r.Duals.U[i], 1/r.Reg)
			for j, v := range plan {
				if v > 0 {
					axpy(v/r.a[i], y.RawRowView(j), out.RawRowView(i))
				}
			}
		}
		return nil
	})
}
