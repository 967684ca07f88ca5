package gomlx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// Sinkhorn returns a solver that runs [ot.Sinkhorn] on the device and finds the
// same plan to 1e-6 of a unit's mass.
//
//	min ⟨P, C⟩ + ε Σᵢⱼ Pᵢⱼ (log Pᵢⱼ − 1)   over P 1 = a,  Pᵀ 1 = b
//
// It works in rounds: a step of both sides in the log domain, then scaling of
// the kernel by matrix products until the tolerance is met or the scalings
// grow large. All of it is float64, products and their sums too, whatever the
// type of the cost and of the device's fast matrix units. The context is looked
// at between rounds.
//
// Schmitzer, "Stabilized sparse scaling algorithms for entropy regularized
// transport problems" (2019).
func (d *Device) Sinkhorn(parameters ot.Sinkhorn) ot.Solver { return sinkhorn{parameters, d} }

type sinkhorn struct {
	ot.Sinkhorn
	device *Device
}

const (
	stages  = 4.0    // ε falls by this factor from one stage to the next
	mild    = 20.0   // cost over ε at which it starts
	rough   = 0.01   // tolerance of the stages before the last
	round   = 50     // iterations at most
	within  = 1e100  // of the scalings
	nothing = 1e-200 // share that stands for no mass, which has no logarithm
)

// Solve implements ot.Solver.
func (s sinkhorn) Solve(ctx context.Context, p ot.Problem) (ot.Plan, error) {
	done, err := s.device.acquire()
	if err != nil {
		return ot.Plan{}, err
	}
	defer done()
	if err := p.Validate(); err != nil {
		return ot.Plan{}, err
	}
	n, m := p.Cost.Dims()
	flat := make([]float64, 0, n*m)
	for i := range n {
		flat = append(flat, mat.Row(nil, i, p.Cost)...)
	}
	cost := tensors.FromFlatDataAndDimensions(flat, n, m)
	out, stopped := s.solve(ctx, cost, p.A, p.B)
	err = free(cost)
	if late := (*ot.NotConvergedError)(nil); err != nil || stopped != nil && !errors.As(stopped, &late) {
		return ot.Plan{}, errors.Join(stopped, err, free(out))
	}
	mass, err := tensors.CopyFlatData[float64](out)
	if err = errors.Join(err, free(out)); err != nil {
		return ot.Plan{}, fmt.Errorf("gomlx: %w", err)
	}
	plan, err := ot.NewPlan(mat.NewDense(n, m, mass), p.A, p.B)
	return plan, errors.Join(stopped, err)
}

// solve solves the problem with a cost [n × m] of any float type, finite and
// non-negative, and masses a [n], b [m] of equal total, nil for uniform ones. The
// plan [n × m], float64, stays on the device and comes with an
// *ot.NotConvergedError if MaxIter is not enough.
func (s sinkhorn) solve(ctx context.Context, cost *tensors.Tensor, a, b []float64) (plan *tensors.Tensor, err error) {
	s.Reg, s.Tol, s.MaxIter = cmp.Or(s.Reg, ot.DefaultReg), cmp.Or(s.Tol, ot.DefaultTol), cmp.Or(s.MaxIter, ot.DefaultMaxIter)
	if !(s.Reg > 0 && s.Tol > 0 && s.MaxIter > 0) || math.IsInf(s.Reg+s.Tol, 0) {
		return nil, fmt.Errorf("gomlx: Sinkhorn with reg %g, tolerance %g, %d iterations: %w", s.Reg, s.Tol, s.MaxIter, ot.ErrOption)
	}
	if cost.Rank() != 2 {
		return nil, fmt.Errorf("gomlx: a cost of shape %s: %w", cost.Shape(), ot.ErrShape)
	}
	n, m := cost.Shape().Dim(0), cost.Shape().Dim(1)
	a, suma := marginal(a, n)
	b, sumb := marginal(b, m)
	if len(a) != n || len(b) != m || !(math.Abs(suma-sumb) <= 1e-9*suma) {
		return nil, fmt.Errorf("gomlx: masses of %d and %d units, %g and %g in all, for a cost of shape %s: %w",
			len(a), len(b), suma, sumb, cost.Shape(), ot.ErrShape)
	}
	run := &scaling{sinkhorn: s, cost: cost, masses: []*tensors.Tensor{
		tensors.FromFlatDataAndDimensions(a, n, 1), tensors.FromFlatDataAndDimensions(b, 1, m)}}
	run.state = []*tensors.Tensor{
		tensors.FromFlatDataAndDimensions(make([]float64, n), n, 1), tensors.FromFlatDataAndDimensions(make([]float64, m), 1, m)}
	defer func() { err = errors.Join(err, free(run.masses...), free(run.state...)) }()
	stopped := run.anneal(ctx)
	if late := (*ot.NotConvergedError)(nil); stopped != nil && !errors.As(stopped, &late) {
		return nil, stopped
	}
	plan, err = run.plan(suma)
	return plan, errors.Join(stopped, err)
}

// marginal returns masses over their total, and that.
func marginal(w []float64, n int) (out []float64, total float64) {
	out = make([]float64, n)
	if w == nil {
		for i := range out {
			out[i] = 1 / float64(n)
		}
		return out, 1
	}
	for _, v := range w {
		total += v
	}
	for i, v := range w {
		w := v / total
		if i < n {
			out[i] = max(w, nothing)
		}
	}
	if len(w) != n {
		out = nil
	}
	return out, total
}

// scaling is one run.
type scaling struct {
	sinkhorn
	cost   *tensors.Tensor
	masses []*tensors.Tensor // a [n, 1], b [1, m]
	state  []*tensors.Tensor // potentials f [n, 1], g [1, m]
	count  int
}

// anneal solves for a falling sequence of ε, each from the potentials of the
// one before.
func (r *scaling) anneal(ctx context.Context) error {
	e, err := r.device.cached("largest cost", "costs of Sinkhorn", func(in []*gx.Node) []*gx.Node {
		c := gx.ConvertDType(in[0], dtypes.F64)
		return []*gx.Node{gx.ReduceAllMax(c), gx.ReduceAllMin(c), gx.ReduceAllSum(c)}
	})
	if err != nil {
		return err
	}
	out, err := e.call(r.cost)
	if err != nil {
		return err
	}
	top, low, sum, err := scalars(out)
	switch {
	case err != nil:
		return err
	case !(low >= 0) || !(top <= math.MaxFloat64) || math.IsNaN(sum):
		return fmt.Errorf("gomlx: costs from %g to %g: %w", low, top, ot.ErrNotFinite)
	case top > 1e12*r.Reg:
		return fmt.Errorf("gomlx: reg %g is too small for costs up to %g: %w", r.Reg, top, ot.ErrOption)
	}
	reg := r.Reg
	for reg*mild < top {
		reg *= stages
	}
	for ; reg > r.Reg*1.001; reg /= stages {
		limit := min(r.count+round, r.MaxIter/2)
		if err := r.stage(ctx, reg, rough, limit); err != nil && !errors.As(err, new(*ot.NotConvergedError)) {
			return err
		}
	}
	return r.stage(ctx, r.Reg, r.Tol, r.MaxIter)
}

// stage runs rounds until the rows, too, have their masses right after a step
// in the log domain, which makes the columns exact.
func (r *scaling) stage(ctx context.Context, reg, tol float64, limit int) error {
	e, err := r.device.cached("sinkhorn round", "Sinkhorn", scalingRound)
	if err != nil {
		return err
	}
	for omega := 1.0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.count++
		steps := max(0, min(round, limit-r.count))
		out, err := e.call(append(args([]*tensors.Tensor{r.cost}, r.masses, r.state), reg, tol, omega, float64(steps))...)
		if err != nil {
			return err
		}
		err = free(r.state...)
		r.state = out[:2]
		first, last, iters, failed := scalars(out[2:])
		switch {
		case err != nil || failed != nil:
			return errors.Join(err, failed)
		case first <= tol:
			return nil
		case steps == 0:
			return &ot.NotConvergedError{Iterations: r.count, Residual: first}
		}
		r.count += int(iters)
		omega = relaxed(omega, math.Pow(last/first, 1/iters))
	}
}

// relaxed is the next exponent of the scalings after they contracted by rate an
// iteration, see package ot.
func relaxed(omega, rate float64) float64 {
	if !(rate < 1) {
		return 1
	}
	lead := rate + omega - 1
	theta := min(lead*lead/(rate*omega*omega), 1)
	return min(max(omega, 2/(1+math.Sqrt(1-theta))), 1.9)
}

// scalars reads three numbers and frees them.
func scalars(ts []*tensors.Tensor) (x, y, z float64, err error) {
	for k, v := range []*float64{&x, &y, &z} {
		var failed error
		*v, failed = scalar(ts[k])
		err = errors.Join(err, failed, free(ts[k]))
	}
	return x, y, z, err
}

// product is a matrix product in float64, down to its sums.
func product(x, y *gx.Node) *gx.Node { return gx.Dot(x, y).WithAccumulatorDType(dtypes.F64).Product() }

// number is v where like is; the constants of GoMLX belong to the function that
// asks for them first.
func number(like *gx.Node, v float64) *gx.Node { return gx.Const(like.Graph(), v) }

// total is Σ x of a row or column by a product, since XLA takes a reduction in
// one function of a graph only.
func total(x *gx.Node) *gx.Node {
	return gx.Reshape(product(gx.Reshape(x, 1, -1), gx.Reshape(gx.BroadcastLike(number(x, 1), x), -1, 1)))
}

// scalingRound is a round: cost [n, m], a [n, 1], b [1, m], f [n, 1], g [1, m], ε,
// tolerance, ω, iterations → f, g, Σ|P 1 − a| after the step in the log domain and
// before the last iteration, iterations.
func scalingRound(in []*gx.Node) []*gx.Node {
	c, a, b, g, reg, tol := gx.ConvertDType(in[0], dtypes.F64), in[1], in[2], in[4], in[5], in[6]
	logSum := func(x *gx.Node, axis int) *gx.Node {
		top := gx.ReduceAndKeep(x, gx.ReduceMax, axis)
		return gx.Add(gx.Log(gx.ReduceAndKeep(gx.Exp(gx.Sub(x, top)), gx.ReduceSum, axis)), top)
	}
	f := gx.Mul(reg, gx.Sub(gx.Log(a), logSum(gx.Div(gx.Sub(g, c), reg), 1)))
	g = gx.Mul(reg, gx.Sub(gx.Log(b), logSum(gx.Div(gx.Sub(f, c), reg), 0)))
	k := gx.Exp(gx.Div(gx.Sub(gx.Add(f, g), c), reg))
	u, v := gx.BroadcastLike(number(a, 1), a), gx.BroadcastLike(number(b, 1), b)
	first := total(gx.Abs(gx.Sub(product(k, gx.Reshape(v, -1, 1)), a)))
	running := gx.ConvertDType(gx.GreaterThan(first, tol), dtypes.F64)
	// Closures see nothing but their own state.
	state := []*gx.Node{number(first, 0), running, first, u, v, k, a, b, tol, in[7], in[8]}
	parameters := func(graph *gx.Graph) (p []*gx.Node) {
		for i, s := range state {
			p = append(p, gx.Parameter(graph, fmt.Sprint("state", i), s.Shape()))
		}
		return p
	}
	open := gx.NewClosure(c.Graph(), func(graph *gx.Graph) []*gx.Node {
		p := parameters(graph)
		return []*gx.Node{gx.LogicalAnd(gx.LessThan(p[0], p[10]), gx.GreaterThan(p[1], number(p[1], 0)))}
	})
	body := gx.NewClosure(c.Graph(), func(graph *gx.Graph) []*gx.Node { return scale(parameters(graph)) })
	out := gx.While(open, body, state...)
	return []*gx.Node{gx.Add(f, gx.Mul(reg, gx.Log(out[3]))), gx.Add(g, gx.Mul(reg, gx.Log(out[4]))), first, out[2], out[0]}
}

// scale is one iteration: u ← u (a/(u Kv))^ω, v ← v (b/(v Kᵀu))^ω.
func scale(p []*gx.Node) []*gx.Node {
	u, v, k, a, b, tol, omega := p[3], p[4], p[5], p[6], p[7], p[8], p[9]
	rows := gx.Mul(u, product(k, gx.Reshape(v, -1, 1)))
	nextU := gx.Mul(u, gx.Pow(gx.Div(a, rows), omega))
	columns := gx.Mul(v, product(gx.Reshape(nextU, 1, -1), k))
	nextV := gx.Mul(v, gx.Pow(gx.Div(b, columns), omega))
	residual := total(gx.Abs(gx.Sub(rows, a)))
	size := number(u, 0)
	for _, x := range []*gx.Node{nextU, nextV} {
		size = gx.Add(size, gx.Add(total(x), total(gx.Div(number(u, 1), x))))
	}
	keep := gx.LogicalAnd(gx.GreaterThan(residual, tol), gx.LessThan(size, number(size, within)))
	return append([]*gx.Node{gx.Add(p[0], number(u, 1)), gx.ConvertDType(keep, dtypes.F64), residual,
		gx.Where(keep, nextU, u), gx.Where(keep, nextV, v)}, p[5:]...)
}

// plan is exp((f + g − C)/ε) times the total mass.
func (r *scaling) plan(mass float64) (*tensors.Tensor, error) {
	e, err := r.device.cached("sinkhorn plan", "plan of Sinkhorn", func(in []*gx.Node) []*gx.Node {
		p := gx.Exp(gx.Div(gx.Sub(gx.Add(in[3], in[4]), gx.ConvertDType(in[0], dtypes.F64)), in[5]))
		for _, w := range in[1:3] {
			some := gx.GreaterThan(w, number(w, nothing))
			p = gx.Mul(p, gx.ConvertDType(some, dtypes.F64))
		}
		return []*gx.Node{gx.Mul(p, in[6])}
	})
	if err != nil {
		return nil, err
	}
	out, err := e.call(append(args([]*tensors.Tensor{r.cost}, r.masses, r.state), r.Reg, mass)...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}
