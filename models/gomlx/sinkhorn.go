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
// same plan to 1e-6 of a unit's mass,
//
//	min ⟨P, C⟩ + ε Σᵢⱼ Pᵢⱼ (log Pᵢⱼ − 1)   over P 1 = a,  Pᵀ 1 = b.
//
// It alternates one iteration in the log domain with a round of matrix products
// that scale the kernel, until the tolerance is met or the scalings grow too
// large. All of it is float64, products and their sums included, also on devices
// whose matrix units are less precise. The context is looked at between rounds.
//
// Schmitzer, "Stabilized sparse scaling algorithms for entropy regularized
// transport problems" (2019).
func (d *Device) Sinkhorn(parameters ot.Sinkhorn) ot.Solver { return sinkhorn{parameters, d} }

// sinkhorn is the solver.
type sinkhorn struct {
	ot.Sinkhorn
	device *Device
}

const (
	annealingFactor    = 4.0    // of ε from one stage to the next
	mildRatio          = 20.0   // largest cost over ε at which no annealing is needed
	annealingTolerance = 0.01   // of the stages before the last
	roundLength        = 50     // iterations of a round at most
	largestScaling     = 1e100  // beyond it the scalings are absorbed into the potentials
	noMass             = 1e-200 // share that stands for no mass, which has no logarithm
)

// Solve implements ot.Solver. If MaxIter is not enough the plan comes with an
// *ot.NotConvergedError.
func (s sinkhorn) Solve(ctx context.Context, p ot.Problem) (plan ot.Plan, err error) {
	done, err := s.device.acquire()
	if err != nil {
		return ot.Plan{}, err
	}
	defer done()
	if err := p.Validate(); err != nil {
		return ot.Plan{}, err
	}
	if s, err = s.filled(); err != nil {
		return ot.Plan{}, err
	}
	run, err := s.start(p)
	if err != nil {
		return ot.Plan{}, err
	}
	defer func() { err = errors.Join(err, run.free()) }()
	stopped := run.anneal(ctx)
	if stopped != nil && !errors.As(stopped, new(*ot.NotConvergedError)) {
		return ot.Plan{}, stopped
	}
	mass, err := run.coupling(ctx)
	if err != nil {
		return ot.Plan{}, err
	}
	plan, err = ot.NewPlan(mass, p.A, p.B)
	return plan, errors.Join(stopped, err)
}

// filled checks the parameters and sets the defaults, but for that of ε.
func (s sinkhorn) filled() (sinkhorn, error) {
	s.Tol, s.MaxIter = cmp.Or(s.Tol, ot.DefaultTol), cmp.Or(s.MaxIter, ot.DefaultMaxIter)
	if !(s.Reg >= 0 && s.Tol > 0 && s.MaxIter > 0) || math.IsInf(s.Reg+s.Tol, 0) {
		return s, fmt.Errorf("gomlx: Sinkhorn with Reg %g, Tol %g, MaxIter %d: %w",
			s.Reg, s.Tol, s.MaxIter, ot.ErrOption)
	}
	return s, nil
}

// start uploads a problem.
func (s sinkhorn) start(p ot.Problem) (*sinkhornRun, error) {
	n, m := p.Cost.Dims()
	cost := make([]float64, 0, n*m)
	for i := range n {
		cost = append(cost, mat.Row(nil, i, p.Cost)...)
	}
	a, total := shares(p.A, n)
	b, _ := shares(p.B, m)
	v := make([]float64, m)
	if s.Start != nil {
		if len(s.Start.V) != m {
			return nil, fmt.Errorf("gomlx: Sinkhorn: Start holds %d potentials for %d units: %w",
				len(s.Start.V), m, ot.ErrShape)
		}
		for j, potential := range s.Start.V {
			if b[j] > noMass { // the potential of a unit without mass is infinite
				v[j] = potential
			}
		}
	}
	return &sinkhornRun{sinkhorn: s, total: total,
		cost: newArray(tensors.FromFlatDataAndDimensions(cost, n, m)),
		masses: []*array{
			newArray(tensors.FromFlatDataAndDimensions(a, n, 1)), newArray(tensors.FromFlatDataAndDimensions(b, 1, m))},
		potentials: []*array{
			newArray(tensors.FromFlatDataAndDimensions(make([]float64, n), n, 1)),
			newArray(tensors.FromFlatDataAndDimensions(v, 1, m))},
	}, nil
}

// shares returns masses over their total, which it returns, too. Nil stands for
// uniform masses.
func shares(masses []float64, n int) (out []float64, total float64) {
	out = make([]float64, n)
	if masses == nil {
		for i := range out {
			out[i] = 1 / float64(n)
		}
		return out, 1
	}
	for _, v := range masses {
		total += v
	}
	for i, v := range masses {
		out[i] = max(v/total, noMass)
	}
	return out, total
}

// sinkhornRun is the solution of one problem.
type sinkhornRun struct {
	sinkhorn
	total      float64  // mass
	cost       *array   // [n, m]
	masses     []*array // a [n, 1], b [1, m], which sum to 1
	potentials []*array // f [n, 1], g [1, m]
	iterations int
}

func (r *sinkhornRun) free() error {
	return errors.Join(free(r.cost), free(r.masses...), free(r.potentials...))
}

// anneal solves for a falling sequence of ε, each from the potentials of the one
// before. From given potentials it starts at ε itself.
func (r *sinkhornRun) anneal(ctx context.Context) error {
	top, err := r.largestCost(ctx)
	if err != nil {
		return err
	}
	if r.Reg == 0 {
		r.Reg = ot.DefaultReg * cmp.Or(top, 1) // where all is free, every ε gives the same plan
	}
	if top > 1e12*r.Reg {
		return fmt.Errorf("gomlx: Sinkhorn: Reg %g is too small for costs up to %g: %w", r.Reg, top, ot.ErrOption)
	}
	reg := r.Reg
	for r.Start == nil && reg*mildRatio < top {
		reg *= annealingFactor
	}
	for ; reg > r.Reg*1.001 && r.iterations+1 < r.MaxIter; reg /= annealingFactor {
		limit := min(r.iterations+roundLength, r.MaxIter/2)
		err := r.stage(ctx, reg, annealingTolerance, limit)
		if err != nil && !errors.As(err, new(*ot.NotConvergedError)) {
			return err
		}
	}
	return r.stage(ctx, r.Reg, r.Tol, r.MaxIter)
}

// largestCost returns the largest cost between units with mass.
func (r *sinkhornRun) largestCost(ctx context.Context) (float64, error) {
	largest := func(in []*gx.Node) []*gx.Node {
		return []*gx.Node{gx.ReduceAllMax(gx.Mul(in[0], gx.Mul(hasMass(in[1]), hasMass(in[2]))))}
	}
	p := r.device.cached("sinkhorn cost", "the largest cost of Sinkhorn", computation{graph: largest})
	out, err := p.call(ctx, arguments([]*array{r.cost}, r.masses)...)
	if err != nil {
		return 0, err
	}
	top, err := scalar(out[0])
	return top, errors.Join(err, free(out...))
}

// stage runs rounds until the rows, too, have their masses right after an
// iteration in the log domain, which makes the columns exact.
func (r *sinkhornRun) stage(ctx context.Context, reg, tol float64, limit int) error {
	p := r.device.cached("sinkhorn round", "a round of Sinkhorn", computation{graph: sinkhornRound})
	for omega := 1.0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.iterations++
		scalings := max(0, min(roundLength, limit-r.iterations-1)) // one is left for the next round to begin with
		problem := arguments([]*array{r.cost}, r.masses, r.potentials)
		out, err := p.call(ctx, append(problem, reg, tol, omega, float64(scalings))...)
		if err != nil {
			return err
		}
		err = free(r.potentials...)
		r.potentials = out[:2]
		first, last, made, failed := threeScalars(out[2:])
		switch {
		case err != nil || failed != nil:
			return errors.Join(err, failed)
		case first <= tol:
			return nil
		case r.iterations >= limit:
			return &ot.NotConvergedError{Iterations: r.iterations, Residual: first}
		}
		r.iterations += int(made)
		omega = overrelaxation(omega, math.Pow(last/first, 1/made))
	}
}

// overrelaxation returns the exponent of the scalings of the next round, after
// the error contracted by rate in each iteration under the exponent omega. Lehmann
// et al. (2022), see package ot.
func overrelaxation(omega, rate float64) float64 {
	if !(rate < 1) {
		return 1
	}
	leading := rate + omega - 1
	theta := min(leading*leading/(rate*omega*omega), 1)
	return min(max(omega, 2/(1+math.Sqrt(1-theta))), 1.9)
}

// coupling returns exp((f + g − C)/ε) [n, m] times the total mass.
func (r *sinkhornRun) coupling(ctx context.Context) (*mat.Dense, error) {
	p := r.device.cached("sinkhorn plan", "the plan of Sinkhorn", computation{graph: func(in []*gx.Node) []*gx.Node {
		plan := gx.Exp(gx.Div(gx.Sub(gx.Add(in[3], in[4]), in[0]), in[5]))
		return []*gx.Node{gx.Mul(gx.Mul(plan, in[6]), gx.Mul(hasMass(in[1]), hasMass(in[2])))}
	}})
	out, err := p.call(ctx, append(arguments([]*array{r.cost}, r.masses, r.potentials), r.Reg, r.total)...)
	if err != nil {
		return nil, err
	}
	data, err := valuesOf[float64](out[0])
	if err = errors.Join(err, free(out...)); err != nil {
		return nil, fmt.Errorf("gomlx: Sinkhorn: %w", err)
	}
	n, m := r.cost.Shape().Dim(0), r.cost.Shape().Dim(1)
	return mat.NewDense(n, m, data), nil
}

// threeScalars reads three numbers and frees them.
func threeScalars(ts []*array) (x, y, z float64, err error) {
	for k, v := range []*float64{&x, &y, &z} {
		var failed error
		*v, failed = scalar(ts[k])
		err = errors.Join(err, failed, free(ts[k]))
	}
	return x, y, z, err
}

// hasMass is 1 for units with mass and 0 for the others.
func hasMass(share *gx.Node) *gx.Node {
	return gx.ConvertDType(gx.GreaterThan(share, constantBeside(share, noMass)), dtypes.F64)
}

// product is a matrix product in float64, down to its sums.
func product(x, y *gx.Node) *gx.Node {
	return gx.Dot(x, y).WithAccumulatorDType(dtypes.F64).Product()
}

// constantBeside is v in the function that x is of: the constants of GoMLX belong
// to the function that asks for them first.
func constantBeside(x *gx.Node, v float64) *gx.Node { return gx.Const(x.Graph(), v) }

// sumByProduct is Σ x of a row or column by a matrix product, since XLA takes a
// reduction in one function of a graph only.
func sumByProduct(x *gx.Node) *gx.Node {
	ones := gx.BroadcastLike(constantBeside(x, 1), x)
	return gx.Reshape(product(gx.Reshape(x, 1, -1), gx.Reshape(ones, -1, 1)))
}

// sinkhornRound is the graph of a round: cost [n, m], a [n, 1], b [1, m],
// f [n, 1], g [1, m], ε, tolerance, ω, scalings → f, g, Σ|P 1 − a| after the
// iteration in the log domain and before the last scaling, number of scalings.
func sinkhornRound(in []*gx.Node) []*gx.Node {
	c, a, b, g, reg, tol := in[0], in[1], in[2], in[4], in[5], in[6]
	logSum := func(x *gx.Node, axis int) *gx.Node {
		top := gx.ReduceAndKeep(x, gx.ReduceMax, axis)
		return gx.Add(gx.Log(gx.ReduceAndKeep(gx.Exp(gx.Sub(x, top)), gx.ReduceSum, axis)), top)
	}
	f := gx.Mul(reg, gx.Sub(gx.Log(a), logSum(gx.Div(gx.Sub(g, c), reg), 1)))
	g = gx.Mul(reg, gx.Sub(gx.Log(b), logSum(gx.Div(gx.Sub(f, c), reg), 0)))
	k := gx.Exp(gx.Div(gx.Sub(gx.Add(f, g), c), reg))
	u, v := gx.BroadcastLike(constantBeside(a, 1), a), gx.BroadcastLike(constantBeside(b, 1), b)
	first := sumByProduct(gx.Abs(gx.Sub(product(k, gx.Reshape(v, -1, 1)), a)))
	running := gx.ConvertDType(gx.GreaterThan(first, tol), dtypes.F64)
	// The functions of a loop see nothing but its state.
	state := []*gx.Node{constantBeside(first, 0), running, first, u, v, k, a, b, tol, in[7], in[8]}
	parameters := func(graph *gx.Graph) (p []*gx.Node) {
		for i, s := range state {
			p = append(p, gx.Parameter(graph, fmt.Sprint("state", i), s.Shape()))
		}
		return p
	}
	condition := gx.NewClosure(c.Graph(), func(graph *gx.Graph) []*gx.Node {
		p := parameters(graph)
		return []*gx.Node{gx.LogicalAnd(gx.LessThan(p[0], p[10]), gx.GreaterThan(p[1], constantBeside(p[1], 0)))}
	})
	body := gx.NewClosure(c.Graph(), func(graph *gx.Graph) []*gx.Node { return sinkhornScaling(parameters(graph)) })
	out := gx.While(condition, body, state...)
	f, g = gx.Add(f, gx.Mul(reg, gx.Log(out[3]))), gx.Add(g, gx.Mul(reg, gx.Log(out[4])))
	return []*gx.Node{f, g, first, out[2], out[0]}
}

// sinkhornScaling is the graph of one scaling of both sides,
//
//	u ← u (a / (u K v))^ω,   v ← v (b / (v Kᵀ u))^ω,
//
// on the state of the loop: scalings made, whether to go on, Σ|P 1 − a|, u, v, K,
// a, b, tolerance, ω, scalings to make. Scalings that grow too large are not taken
// over and end the loop.
func sinkhornScaling(p []*gx.Node) []*gx.Node {
	u, v, k, a, b, tol, omega := p[3], p[4], p[5], p[6], p[7], p[8], p[9]
	rows := gx.Mul(u, product(k, gx.Reshape(v, -1, 1)))
	nextU := gx.Mul(u, gx.Pow(gx.Div(a, rows), omega))
	columns := gx.Mul(v, product(gx.Reshape(nextU, 1, -1), k))
	nextV := gx.Mul(v, gx.Pow(gx.Div(b, columns), omega))
	residual := sumByProduct(gx.Abs(gx.Sub(rows, a)))
	size := constantBeside(u, 0)
	for _, x := range []*gx.Node{nextU, nextV} {
		size = gx.Add(size, gx.Add(sumByProduct(x), sumByProduct(gx.Div(constantBeside(u, 1), x))))
	}
	takeOver := gx.LogicalAnd(gx.GreaterThan(residual, tol), gx.LessThan(size, constantBeside(size, largestScaling)))
	return append([]*gx.Node{gx.Add(p[0], constantBeside(u, 1)), gx.ConvertDType(takeOver, dtypes.F64), residual,
		gx.Where(takeOver, nextU, u), gx.Where(takeOver, nextV, v)}, p[5:]...)
}
