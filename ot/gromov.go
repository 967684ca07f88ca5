package ot

import (
	"cmp"
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// Quadratic is a transport problem between two sides that are known by what
// holds within them, and optionally by a cost across.
type Quadratic struct {
	X, Y mat.Matrix // distances or similarities within source [n × n] and target [m × m], finite
	Cost mat.Matrix // across [n × m], finite and non-negative; nil is none
	A, B []float64  // masses [n] and [m], of equal total; nil is uniform with total 1
}

// GromovWasserstein finds a plan under which both sides look alike from
// within, fused with a cost across where there is one.
//
//	min (1 − α) ⟨P, C⟩ + α Σᵢⱼₖₗ (Xᵢₖ − Yⱼₗ)² Pᵢⱼ Pₖₗ   over P 1 = a,  Pᵀ 1 = b
//
// The problem is not convex: it returns the local optimum that conditional
// gradients with exact line search reach from a bᵀ. Its residual is the gap of
// the linearised problem, relative to the objective at a bᵀ.
//
// Mémoli, "Gromov-Wasserstein distances and the metric approach to object
// matching" (2011); Vayer, Chapel, Flamary, Tavenard and Courty, "Optimal
// transport for structured data with application on graphs" (2019).
type GromovWasserstein struct {
	Alpha   float64 // weight α of the inner structure, in (0, 1]; 0 means 1/2 with a cost and 1 without
	Tol     float64 // 0 means DefaultTol
	MaxIter int     // conditional gradients, each a transport problem; 0 means 1000
}

// Solve returns a plan [n × m] and its objective, in units of the cost times
// the mass and of the squared distances times the squared mass. What does not
// fit gives an [*InvalidError], and the plan comes with a [*NotConverged] if
// MaxIter is not enough.
func (s GromovWasserstein) Solve(ctx context.Context, q Quadratic) (Plan, float64, error) {
	c, err := control{1, s.Tol, cmp.Or(s.MaxIter, 1000)}.filled()
	if err != nil {
		return Plan{}, 0, err
	}
	w, in, err := s.load(q)
	if err != nil {
		return Plan{}, 0, err
	}
	count, residual, err := w.descend(ctx, c)
	if err != nil {
		return Plan{}, 0, err
	}
	plan := in.plan(w.p.RawMatrix().Data)
	if !(residual <= c.tol) {
		err = &NotConverged{Iterations: count, Residual: residual}
	}
	return plan, w.objective(), err
}

// inner is the state of the conditional gradients.
type inner struct {
	in    *instance
	x, y  *mat.Dense // [n × n], [m × m]
	alpha float64
	fixed float64    // α (Σ X² a aᵀ + Σ Y² b bᵀ)
	p     *mat.Dense // plan
	s     *mat.Dense // X P Yᵀ
	r     *mat.Dense // Xᵀ P Y, which is s where both sides are symmetric
}

func (s GromovWasserstein) load(q Quadratic) (*inner, *instance, error) {
	if !(s.Alpha >= 0 && s.Alpha <= 1) {
		return nil, nil, invalid("Alpha", ErrOption, "%g", s.Alpha)
	}
	x, n, err := square("X", q.X)
	if err != nil {
		return nil, nil, err
	}
	y, m, err := square("Y", q.Y)
	if err != nil {
		return nil, nil, err
	}
	alpha, cost := s.Alpha, q.Cost
	if cost == nil {
		alpha, cost = 1, mat.NewDense(n, m, nil)
	}
	in, err := loadBalanced(Problem{Cost: cost, A: q.A, B: q.B})
	if err != nil {
		return nil, nil, err
	}
	if r, c := len(in.fullA), len(in.fullB); r != n || c != m {
		return nil, nil, invalid("Cost", ErrShape, "%d × %d between %d and %d units", r, c, n, m)
	}
	w := &inner{
		in: in, alpha: cmp.Or(alpha, 0.5),
		x: among(x, n, in.rows), y: among(y, m, in.cols), p: mat.NewDense(in.n, in.m, nil),
	}
	share := floats.ScaleTo(make([]float64, in.n), 1/floats.Sum(in.a), in.a)
	w.p.Outer(1, mat.NewVecDense(in.n, share), mat.NewVecDense(in.m, in.b))
	w.fixed = w.alpha * (moment(w.x, in.a) + moment(w.y, in.b))
	if math.IsInf(w.fixed, 0) {
		return nil, nil, invalid("X", ErrNotFinite, "squares overflow")
	}
	return w, in, nil
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
		if math.IsNaN(v) || math.IsInf(v, 0) {
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

// products returns X P Yᵀ and Xᵀ P Y.
func (w *inner) products(p *mat.Dense) (s, r *mat.Dense) {
	product := func(x, y mat.Matrix) *mat.Dense {
		var xp, out mat.Dense
		xp.Mul(x, p)
		out.Mul(&xp, y)
		return &out
	}
	s = product(w.x, w.y.T())
	if mat.Equal(w.x, w.x.T()) && mat.Equal(w.y, w.y.T()) {
		return s, s
	}
	return s, product(w.x.T(), w.y)
}

// objective at p, from the expanded square.
func (w *inner) objective() float64 {
	return w.fixed + (1-w.alpha)*floats.Dot(w.in.cost, flat(w.p)) - 2*w.alpha*floats.Dot(flat(w.s), flat(w.p))
}

func flat(d *mat.Dense) []float64 { return d.RawMatrix().Data }

// descend runs conditional gradients and returns their number and the last
// gap.
func (w *inner) descend(ctx context.Context, c control) (count int, gap float64, err error) {
	w.s, w.r = w.products(w.p)
	start := w.objective()
	var v []float64 // potentials of the last plan
	grad, d := make([]float64, len(w.in.cost)), make([]float64, len(w.in.cost))
	for ; ; count++ {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		low := math.Inf(1)
		for k, c := range w.in.cost {
			grad[k] = (1-w.alpha)*c - 2*w.alpha*(flat(w.s)[k]+flat(w.r)[k])
			low = min(low, grad[k])
		}
		floats.AddConst(-low, grad) // the same for every plan
		var mass []float64
		linear := &instance{n: w.in.n, m: w.in.m, cost: grad, a: w.in.a, b: w.in.b, top: floats.Max(grad)}
		if mass, _, v, err = exactly(ctx, linear, v); err != nil {
			return 0, 0, err
		}
		floats.SubTo(d, mass, flat(w.p))
		slope := floats.Dot(grad, d)
		if gap = -slope / start; !(slope < 0) || start <= 0 {
			gap = 0
		}
		if gap <= c.tol || count == c.limit {
			return count, gap, nil
		}
		w.step(mass, d, slope)
	}
}

// step goes along d, which leads to the plan mass, as far as that is downhill.
func (w *inner) step(mass, d []float64, slope float64) {
	s, r := w.products(mat.NewDense(w.in.n, w.in.m, mass))
	curve := -2 * w.alpha * (floats.Dot(flat(s), d) - floats.Dot(flat(w.s), d))
	t := 1.0
	if curve > 0 {
		t = min(1, -slope/(2*curve))
	}
	blend := func(to, from *mat.Dense) {
		if t == 1 { // exactly, so that zeros stay zeros
			to.Copy(from)
			return
		}
		floats.Scale(1-t, flat(to))
		floats.AddScaled(flat(to), t, flat(from))
	}
	same := w.r == w.s
	blend(w.p, mat.NewDense(w.in.n, w.in.m, mass))
	blend(w.s, s)
	if same {
		w.r = w.s
	} else {
		blend(w.r, r)
	}
}
