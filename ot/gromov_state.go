package ot

import (
	"cmp"
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// gromovState is the state of an iteration for a [Quadratic] problem.
type gromovState struct {
	problem          *instance
	x, y             *mat.Dense // [n × n], [m × m]
	xt, yt           *mat.Dense // transposed, nil where both sides are symmetric
	alpha            float64
	constantTerm     float64    // α (Σ X² a aᵀ + Σ Y² b bᵀ)
	initialObjective float64    // objective at a bᵀ
	plan             *mat.Dense // P [n × m]
	products         *mat.Dense // X P Yᵀ + Xᵀ P Y
	least            float64    // least entry of the last gradient
}

// newGromovState checks a problem and starts from the plan a bᵀ.
func newGromovState(ctx context.Context, alpha float64, q Quadratic) (*gromovState, error) {
	if !(alpha >= 0 && alpha <= 1) {
		return nil, invalid("Alpha", ErrOption, "%g", alpha)
	}
	x, n, err := squareMatrix("X", q.X)
	if err != nil {
		return nil, err
	}
	y, m, err := squareMatrix("Y", q.Y)
	if err != nil {
		return nil, err
	}
	cost := q.Cost
	if cost == nil {
		alpha, cost = 1, mat.NewDense(n, m, nil)
	}
	in, err := readBalanced(ctx, Problem{Cost: cost, A: q.A, B: q.B})
	if err != nil {
		return nil, err
	}
	if r, c := len(in.fullA), len(in.fullB); r != n || c != m {
		return nil, invalid("Cost", ErrShape, "%d × %d between %d and %d units", r, c, n, m)
	}
	w := &gromovState{
		problem: in, alpha: cmp.Or(alpha, 0.5),
		x: submatrix(x, n, in.keptRows), y: submatrix(y, m, in.keptColumns),
	}
	w.constantTerm = w.alpha * (secondMoment(w.x, in.a) + secondMoment(w.y, in.b))
	if math.IsInf(w.constantTerm, 0) {
		return nil, invalid("X", ErrNotFinite, "squares overflow")
	}
	return w, w.startIndependent(ctx)
}

// squareMatrix checks a square matrix with finite entries.
func squareMatrix(field string, x mat.Matrix) ([]float64, int, error) {
	data, n, m, err := rowMajor(field, x)
	if err != nil {
		return nil, 0, err
	}
	if n == 0 || n != m {
		return nil, 0, invalid(field, ErrShape, "%d × %d", n, m)
	}
	for k, v := range data {
		if v-v != 0 { // NaN or infinite
			return nil, 0, badEntry(field, k/n, k%n, v, ErrNotFinite)
		}
	}
	return data, n, nil
}

// submatrix returns x [n × n] with only the given rows and columns; nil keeps all.
func submatrix(x []float64, n int, keep []int) *mat.Dense {
	if keep == nil {
		return mat.NewDense(n, n, x)
	}
	out := mat.NewDense(len(keep), len(keep), nil)
	out.Apply(func(i, j int, _ float64) float64 { return x[keep[i]*n+keep[j]] }, out)
	return out
}

// secondMoment is Σᵢₖ Xᵢₖ² aᵢ aₖ.
func secondMoment(x *mat.Dense, a []float64) float64 {
	var s float64
	for i, v := range a {
		for k, w := range x.RawRowView(i) {
			s += w * w * v * a[k]
		}
	}
	return s
}

// startIndependent starts from the plan a bᵀ. Its matrix products reduce to those of
// vectors.
func (w *gromovState) startIndependent(ctx context.Context) error {
	w.xt, w.yt = transposed(ctx, w.x), transposed(ctx, w.y)
	if err := ctx.Err(); err != nil {
		return err
	}
	n, m := w.problem.n, w.problem.m
	a, b := mat.NewVecDense(n, slices.Clone(w.problem.a)), mat.NewVecDense(m, w.problem.b)
	a.ScaleVec(1/floats.Sum(w.problem.a), a)
	var xa, xta, yb, ytb mat.VecDense
	xa.MulVec(w.x, a)
	xta.MulVec(w.xt, a)
	yb.MulVec(w.y, b)
	ytb.MulVec(w.yt, b)
	if slices.Equal(entriesOf(w.x), entriesOf(w.xt)) && slices.Equal(entriesOf(w.y), entriesOf(w.yt)) {
		w.xt, w.yt = nil, nil
	}
	w.plan, w.products = mat.NewDense(n, m, nil), mat.NewDense(n, m, nil)
	w.plan.Outer(1, a, b)
	w.products.Outer(1, &xa, &yb)
	w.products.RankOne(w.products, 1, &xta, &ytb)
	w.initialObjective = w.objective()
	return ctx.Err()
}

// startFrom starts from another plan, rounded to the masses of the problem: rows and
// columns with too much mass are scaled down, and the mass that is missing is added as a
// product of what rows and columns miss.
//
// Altschuler, Weed and Rigollet, "Near-linear time approximation algorithms for
// optimal transport via Sinkhorn iteration" (2017).
func (w *gromovState) startFrom(ctx context.Context, start Plan) (err error) {
	in := w.problem
	if n, m := start.Dims(); n != len(in.fullA) || m != len(in.fullB) {
		return invalid("Start", ErrShape, "%d × %d between %d and %d units", n, m, len(in.fullA), len(in.fullB))
	}
	rows, cols := slices.Clone(in.a), slices.Clone(in.b) // mass that is missing
	sums, mass := make([]float64, in.m), start.Mass()
	for i, a := range in.a {
		row := w.plan.RawRowView(i)
		for j := range row {
			row[j] = mass.At(in.originalRow(i), in.originalColumn(j))
		}
		floats.Scale(min(1, a/max(floats.Sum(row), 1/maxTotal)), row)
		floats.Add(sums, row)
	}
	for i := range in.a {
		row := w.plan.RawRowView(i)
		for j, b := range in.b {
			row[j] *= min(1, b/max(sums[j], 1/maxTotal))
			rows[i] -= row[j]
			cols[j] -= row[j]
		}
	}
	if left := floats.Sum(rows); left > 1/maxTotal { // less than that is rounding, and its inverse overflows
		clampNegative(rows)
		clampNegative(cols)
		w.plan.RankOne(w.plan, 1/left, mat.NewVecDense(in.n, rows), mat.NewVecDense(in.m, cols))
	}
	w.products, err = w.gradientProducts(ctx, w.plan)
	return err
}

// clampNegative sets entries that rounding has made negative to zero.
func clampNegative(x []float64) {
	for i, v := range x {
		x[i] = max(0, v)
	}
}

// transposed returns the transpose of x [n × n]. It is unfinished if ctx ends.
func transposed(ctx context.Context, x *mat.Dense) *mat.Dense {
	const some = 64 // columns per block, so that what is read stays in the cache
	n, _ := x.Dims()
	out := mat.NewDense(n, n, nil)
	from, to := entriesOf(x), entriesOf(out)
	_ = runBlocks(ctx, (n+some-1)/some, n*n, func(b int) {
		for i := range n {
			for j := b * some; j < min(n, (b+1)*some); j++ {
				to[j*n+i] = from[i*n+j]
			}
		}
	})
	return out
}

// gradientProducts returns X P Yᵀ + Xᵀ P Y.
func (w *gromovState) gradientProducts(ctx context.Context, p *mat.Dense) (*mat.Dense, error) {
	if w.xt == nil {
		s, err := tripleProduct(ctx, w.x, p, w.y)
		if err == nil {
			floats.Scale(2, entriesOf(s))
		}
		return s, err
	}
	s, err := tripleProduct(ctx, w.x, p, w.yt)
	if err != nil {
		return nil, err
	}
	r, err := tripleProduct(ctx, w.xt, p, w.y)
	if err == nil {
		floats.Add(entriesOf(s), entriesOf(r))
	}
	return s, err
}

// tripleProduct returns X P Y.
func tripleProduct(ctx context.Context, x, p, y *mat.Dense) (*mat.Dense, error) {
	py, err := multiply(ctx, p, y)
	if err != nil {
		return nil, err
	}
	return multiply(ctx, x, py)
}

// multiply returns X Y. It skips the zeros of X, of which exact plans are full.
func multiply(ctx context.Context, x, y *mat.Dense) (*mat.Dense, error) {
	const some = 4 // rows per block, which share every row of Y that is read
	n, k := x.Dims()
	_, m := y.Dims()
	out := mat.NewDense(n, m, nil)
	return out, runBlocks(ctx, (n+some-1)/some, n*m, func(b int) {
		for l := range k {
			for i := b * some; i < min(n, (b+1)*some); i++ {
				if v := x.At(i, l); v != 0 {
					axpy(v, y.RawRowView(l), out.RawRowView(i))
				}
			}
		}
	})
}

// objective returns the objective at the plan, with its square expanded.
func (w *gromovState) objective() float64 {
	p := entriesOf(w.plan)
	return w.constantTerm + (1-w.alpha)*floats.Dot(w.problem.cost, p) - w.alpha*floats.Dot(entriesOf(w.products), p)
}

// entriesOf returns the entries of d row by row, without a copy.
func entriesOf(d *mat.Dense) []float64 { return d.RawMatrix().Data }

// linearise returns the transport problem whose cost is the gradient of the objective at
// the plan, written to grad. The least entry is subtracted, which changes the cost of
// all plans alike.
func (w *gromovState) linearise(grad []float64) (*instance, error) {
	low, high := math.Inf(1), math.Inf(-1)
	for k, c := range w.problem.cost {
		g := (1-w.alpha)*c - 2*w.alpha*entriesOf(w.products)[k]
		grad[k], low, high = g, min(low, g), max(high, g)
	}
	if d := high - low; d-d != 0 { // NaN or infinite
		return nil, invalid("X", ErrNotFinite, "the gradient overflows")
	}
	w.least = low
	floats.AddConst(-low, grad)
	return &instance{n: w.problem.n, m: w.problem.m, cost: grad, a: w.problem.a, b: w.problem.b, maxCost: high - low}, nil
}

// result returns the plan and its objective, with a [*NotConvergedError] if the residual
// is above tol.
func (w *gromovState) result(count int, residual, tol float64) (Plan, float64, error) {
	var err error
	if !(residual <= tol) {
		err = &NotConvergedError{Iterations: count, Residual: residual}
	}
	return w.problem.planOf(entriesOf(w.plan)), w.objective(), err
}
