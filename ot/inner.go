package ot

import (
	"cmp"
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// inner is the state of an iteration.
type inner struct {
	in     *instance
	x, y   *mat.Dense // [n × n], [m × m]
	xt, yt *mat.Dense // transposed, nil where both sides are symmetric
	alpha  float64
	fixed  float64    // α (Σ X² a aᵀ + Σ Y² b bᵀ)
	scale  float64    // objective at a bᵀ
	p      *mat.Dense // plan
	s      *mat.Dense // X P Yᵀ + Xᵀ P Y
}

// newInner checks a problem and starts from a bᵀ.
func newInner(ctx context.Context, alpha float64, q Quadratic) (*inner, error) {
	if !(alpha >= 0 && alpha <= 1) {
		return nil, invalid("Alpha", ErrOption, "%g", alpha)
	}
	x, n, err := square("X", q.X)
	if err != nil {
		return nil, err
	}
	y, m, err := square("Y", q.Y)
	if err != nil {
		return nil, err
	}
	cost := q.Cost
	if cost == nil {
		alpha, cost = 1, mat.NewDense(n, m, nil)
	}
	in, err := loadBalanced(Problem{Cost: cost, A: q.A, B: q.B})
	if err != nil {
		return nil, err
	}
	if r, c := len(in.fullA), len(in.fullB); r != n || c != m {
		return nil, invalid("Cost", ErrShape, "%d × %d between %d and %d units", r, c, n, m)
	}
	if err := contextError(ctx); err != nil {
		return nil, err
	}
	w := &inner{in: in, alpha: cmp.Or(alpha, 0.5), x: among(x, n, in.rows), y: among(y, m, in.cols)}
	w.fixed = w.alpha * (moment(w.x, in.a) + moment(w.y, in.b))
	if math.IsInf(w.fixed, 0) {
		return nil, invalid("X", ErrNotFinite, "squares overflow")
	}
	return w, w.begin(ctx)
}

// square checks a square matrix with finite entries.
func square(field string, x mat.Matrix) ([]float64, int, error) {
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

// among keeps the given rows and columns of x [n × n]; nil keeps all.
func among(x []float64, n int, keep []int) *mat.Dense {
	if keep == nil {
		return mat.NewDense(n, n, x)
	}
	out := mat.NewDense(len(keep), len(keep), nil)
	out.Apply(func(i, j int, _ float64) float64 { return x[keep[i]*n+keep[j]] }, out)
	return out
}

// moment is Σᵢₖ Xᵢₖ² aᵢ aₖ.
func moment(x *mat.Dense, a []float64) float64 {
	var s float64
	for i, v := range a {
		for k, w := range x.RawRowView(i) {
			s += w * w * v * a[k]
		}
	}
	return s
}

// begin looks at the plan a bᵀ, whose products are those of vectors.
func (w *inner) begin(ctx context.Context) error {
	w.xt, w.yt = transposed(ctx, w.x), transposed(ctx, w.y)
	if err := ctx.Err(); err != nil {
		return err
	}
	n, m := w.in.n, w.in.m
	a, b := mat.NewVecDense(n, slices.Clone(w.in.a)), mat.NewVecDense(m, w.in.b)
	a.ScaleVec(1/floats.Sum(w.in.a), a)
	var xa, xta, yb, ytb mat.VecDense
	xa.MulVec(w.x, a)
	xta.MulVec(w.xt, a)
	yb.MulVec(w.y, b)
	ytb.MulVec(w.yt, b)
	if slices.Equal(flat(w.x), flat(w.xt)) && slices.Equal(flat(w.y), flat(w.yt)) {
		w.xt, w.yt = nil, nil
	}
	w.p, w.s = mat.NewDense(n, m, nil), mat.NewDense(n, m, nil)
	w.p.Outer(1, a, b)
	w.s.Outer(1, &xa, &yb)
	w.s.RankOne(w.s, 1, &xta, &ytb)
	w.scale = w.objective()
	return ctx.Err()
}

// from looks at another plan, rounded to the masses: what rows and columns have
// too much of is scaled away, and what is missing is spread evenly.
//
// Altschuler, Weed and Rigollet, "Near-linear time approximation algorithms for
// optimal transport via Sinkhorn iteration" (2017).
func (w *inner) from(ctx context.Context, start Plan) (err error) {
	in := w.in
	if n, m := start.Dims(); n != len(in.fullA) || m != len(in.fullB) {
		return invalid("Start", ErrShape, "%d × %d between %d and %d units", n, m, len(in.fullA), len(in.fullB))
	}
	rows, cols := slices.Clone(in.a), slices.Clone(in.b) // what is missing
	sums := make([]float64, in.m)
	for i, a := range in.a {
		row := w.p.RawRowView(i)
		for j := range row {
			row[j] = start.mass.At(in.row(i), in.col(j))
		}
		floats.Scale(min(1, a/max(floats.Sum(row), 1/maxTotal)), row)
		floats.Add(sums, row)
	}
	for i := range in.a {
		row := w.p.RawRowView(i)
		for j, b := range in.b {
			row[j] *= min(1, b/max(sums[j], 1/maxTotal))
			rows[i] = rows[i] - row[j]
			cols[j] = cols[j] - row[j]
		}
	}
	if left := floats.Sum(rows); left > 1/maxTotal { // less than that is rounding, and its inverse overflows
		clamped(rows)
		clamped(cols)
		w.p.RankOne(w.p, 1/left, mat.NewVecDense(in.n, rows), mat.NewVecDense(in.m, cols))
	}
	w.s, err = w.products(ctx, w.p)
	return err
}

// clamped sets what is below zero, by rounding, to zero.
func clamped(x []float64) {
	for i, v := range x {
		x[i] = max(0, v)
	}
}

// transposed returns the transpose of x [n × n], unfinished if ctx ends.
func transposed(ctx context.Context, x *mat.Dense) *mat.Dense {
	const some = 64 // columns at a time, for the caches
	n, _ := x.Dims()
	out := mat.NewDense(n, n, nil)
	from, to := flat(x), flat(out)
	_ = blocks(ctx, (n+some-1)/some, n*n, func(b int) {
		for i := range n {
			for j := b * some; j < min(n, (b+1)*some); j++ {
				to[j*n+i] = from[i*n+j]
			}
		}
	})
	return out
}

// products returns X P Yᵀ + Xᵀ P Y.
func (w *inner) products(ctx context.Context, p *mat.Dense) (*mat.Dense, error) {
	if w.xt == nil {
		s, err := product(ctx, w.x, p, w.y)
		if err == nil {
			floats.Scale(2, flat(s))
		}
		return s, err
	}
	s, err := product(ctx, w.x, p, w.yt)
	if err != nil {
		return nil, err
	}
	r, err := product(ctx, w.xt, p, w.y)
	if err == nil {
		floats.Add(flat(s), flat(r))
	}
	return s, err
}

// product returns X P Y.
func product(ctx context.Context, x, p, y *mat.Dense) (*mat.Dense, error) {
	py, err := times(ctx, p, y)
	if err != nil {
		return nil, err
	}
	return times(ctx, x, py)
}

// times returns X Y. Zeros of X, which an exact plan is full of, cost nothing.
func times(ctx context.Context, x, y *mat.Dense) (*mat.Dense, error) {
	const some = 4 // rows at a time share what is read of Y
	n, k := x.Dims()
	_, m := y.Dims()
	out := mat.NewDense(n, m, nil)
	return out, blocks(ctx, (n+some-1)/some, n*m, func(b int) {
		for l := range k {
			for i := b * some; i < min(n, (b+1)*some); i++ {
				if v := x.At(i, l); v != 0 {
					axpy(v, y.RawRowView(l), out.RawRowView(i))
				}
			}
		}
	})
}

// objective at p, from the expanded square.
func (w *inner) objective() float64 {
	return w.fixed + (1-w.alpha)*floats.Dot(w.in.cost, flat(w.p)) - w.alpha*floats.Dot(flat(w.s), flat(w.p))
}

func flat(d *mat.Dense) []float64 { return d.RawMatrix().Data }

// linear is the transport problem at the gradient, written to grad, of the
// objective at p: less a constant, which is the same for every plan.
func (w *inner) linear(grad []float64) (*instance, error) {
	low, high := math.Inf(1), math.Inf(-1)
	for k, c := range w.in.cost {
		g := (1-w.alpha)*c - 2*w.alpha*flat(w.s)[k]
		grad[k], low, high = g, min(low, g), max(high, g)
	}
	if d := high - low; d-d != 0 { // NaN or infinite
		return nil, invalid("X", ErrNotFinite, "the gradient overflows")
	}
	floats.AddConst(-low, grad)
	return &instance{n: w.in.n, m: w.in.m, cost: grad, a: w.in.a, b: w.in.b, top: high - low}, nil
}

// result is the plan as it is and its objective; what is not settled to tol
// comes with a [*NotConvergedError].
func (w *inner) result(count int, residual, tol float64) (Plan, float64, error) {
	var err error
	if !(residual <= tol) {
		err = &NotConvergedError{Iterations: count, Residual: residual}
	}
	return w.in.plan(flat(w.p)), w.objective(), err
}
