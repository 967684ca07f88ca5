// Package ottest checks that solvers of transport problems keep their contract.
//
// It is for the tests of packages that implement an [ot.Solver]: [TestSolver] where all
// mass is moved, [TestRelaxed] where it need not be, [TestResult] and [TestDual] for
// potentials and warm starts of entropic and of exact solvers.
package ottest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// TestSolver runs the laws of [ot.Solver] on s: the marginals hold, no entry is negative,
// the cost is not below the exact one, exchanging the sides or scaling the masses changes
// the plan accordingly, units without mass get none, a context ends the work, invalid
// input is reported, and the result does not depend on GOMAXPROCS.
//
// Marginals, L1 relative to the total mass, and costs, relative to the largest cost, hold
// to tol. A plan that comes with an [*ot.NotConvergedError] is held to the residual that
// the error states.
func TestSolver(t *testing.T, s ot.Solver, tol float64) {
	t.Helper()
	for _, p := range problems() {
		t.Run(p.name, func(t *testing.T) { checkLaws(t, s, p.Problem, tol) })
	}
	t.Run("context", func(t *testing.T) { checkContext(t, s) })
	for _, b := range mistakes() {
		t.Run("bad/"+b.name, func(t *testing.T) { checkRejects(t, s, b) })
	}
}

// TestRelaxed runs those laws on s that also hold for solvers which do not move exactly
// the masses, such as [ot.Unbalanced] and [ot.Partial]: the plan has mass, its entries
// are finite and not negative, units without mass get none, exchanging the sides keeps
// the cost, a context ends the work, invalid input is reported, and the result does not
// depend on GOMAXPROCS. Costs, relative to the largest cost and the mass of the plan, are
// compared to tol.
func TestRelaxed(t *testing.T, s ot.Solver, tol float64) {
	t.Helper()
	for _, p := range problems() {
		t.Run(p.name, func(t *testing.T) { checkRelaxedLaws(t, s, p.Problem, tol) })
	}
	t.Run("context", func(t *testing.T) { checkContext(t, s) })
	for _, b := range mistakes() {
		if !errors.Is(b.want, ot.ErrUnbalanced) {
			t.Run("bad/"+b.name, func(t *testing.T) { checkRejects(t, s, b) })
		}
	}
}

type problem struct {
	name string
	ot.Problem
}

// problems returns small problems of every kind.
func problems() []problem {
	rng := rand.New(rand.NewPCG(20, 26))
	all := []problem{
		{"one", ot.Problem{Cost: mat.NewDense(1, 1, []float64{0.3})}},
		{"zero cost", ot.Problem{Cost: mat.NewDense(4, 3, nil)}},
		{"equal cost", ot.Problem{Cost: constantCost(3, 5, 2)}},
		{"zero mass", ot.Problem{
			Cost: randomCost(rng, 5, 4), A: []float64{0.2, 0, 0.3, 0.5, 0}, B: []float64{0, 0.6, 0.4, 0},
		}},
		{"one of each left", ot.Problem{Cost: randomCost(rng, 3, 3), A: []float64{0, 2, 0}, B: []float64{2, 0, 0}}},
		{"heavy and light", ot.Problem{
			Cost: randomCost(rng, 3, 3), A: []float64{1e6, 1, 1e-6}, B: []float64{1e-6, 1e6, 1},
		}},
	}
	for _, d := range [][2]int{{6, 6}, {1, 5}, {7, 1}, {8, 5}, {5, 12}, {40, 30}, {200, 170}} {
		n, m := d[0], d[1]
		uniform := ot.Problem{Cost: randomCost(rng, n, m)}
		masses := ot.Problem{Cost: randomCost(rng, n, m), A: randomMasses(rng, n), B: randomMasses(rng, m)}
		all = append(all,
			problem{fmt.Sprintf("%dx%d uniform", n, m), uniform},
			problem{fmt.Sprintf("%dx%d masses", n, m), masses},
		)
	}
	return all
}

// randomCost returns distances between random points in space, scaled so that the
// largest is 1.
func randomCost(rng *rand.Rand, n, m int) *mat.Dense {
	x, y := mat.NewDense(n, 3, nil), mat.NewDense(m, 3, nil)
	normal := func(int, int, float64) float64 { return rng.NormFloat64() }
	x.Apply(normal, x)
	y.Apply(normal, y)
	c := mat.NewDense(n, m, nil)
	c.Apply(func(i, j int, _ float64) float64 {
		var d float64
		for k := range 3 {
			d = math.Hypot(d, x.At(i, k)-y.At(j, k))
		}
		return d
	}, c)
	c.Scale(1/mat.Max(c), c)
	return c
}

func constantCost(n, m int, v float64) *mat.Dense {
	c := mat.NewDense(n, m, nil)
	c.Apply(func(int, int, float64) float64 { return v }, c)
	return c
}

func randomMasses(rng *rand.Rand, n int) []float64 {
	w := make([]float64, n)
	var sum float64
	for i := range w {
		w[i] = rng.ExpFloat64()
		sum += w[i]
	}
	for i := range w {
		w[i] /= sum
	}
	return w
}

// solve solves p, checks that p is not changed, and returns the tolerance that the plan is
// held to.
func solve(t *testing.T, s ot.Solver, p ot.Problem, tol float64) (ot.Plan, float64) {
	t.Helper()
	before := ot.Problem{Cost: mat.DenseCopyOf(p.Cost), A: slices.Clone(p.A), B: slices.Clone(p.B)}
	plan, err := s.Solve(context.Background(), p)
	if !mat.Equal(before.Cost, p.Cost) || !slices.Equal(before.A, p.A) || !slices.Equal(before.B, p.B) {
		t.Fatal("the problem was changed")
	}
	var late *ot.NotConvergedError
	switch {
	case errors.As(err, &late):
		tol = max(tol, late.Residual*(1+1e-6))
	case err != nil:
		t.Fatal(err)
	}
	if plan.IsIdentity() {
		t.Fatal("no plan")
	}
	return plan, tol
}

// checkLaws checks the laws of [ot.Solver] on one problem.
func checkLaws(t *testing.T, s ot.Solver, p ot.Problem, tol float64) {
	plan, tol := solve(t, s, p, tol)
	n, m := p.Cost.Dims()
	a, b := orUniform(p.A, n), orUniform(p.B, m)
	total, top := total(a), max(mat.Max(p.Cost), 1e-300)
	if err := checkMarginals(plan, a, b, tol); err != nil {
		t.Fatal(err)
	}
	got := plan.Cost(p.Cost)
	exact, err := ot.EMD{}.Solve(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if low := exact.Cost(p.Cost); got < low-2*tol*top*total {
		t.Errorf("cost %g is below the least possible %g", got, low)
	}

	turned, slack := solve(t, s, ot.Problem{Cost: p.Cost.T(), A: p.B, B: p.A}, tol)
	if back := turned.Cost(p.Cost.T()); math.Abs(back-got) > 10*(tol+slack)*top*total {
		t.Errorf("cost %g, with sides exchanged %g", got, back)
	}
	double, slack := solve(t, s, ot.Problem{Cost: p.Cost, A: scaled(a, 2), B: scaled(b, 2)}, tol)
	if twice := double.Cost(p.Cost); math.Abs(twice-2*got) > 10*(tol+slack)*top*total {
		t.Errorf("cost %g, with twice the mass %g", got, twice)
	}
	if _, ok := s.(ot.EMD); ok {
		c := mat.DenseCopyOf(p.Cost)
		c.Scale(3, c)
		triple, _ := solve(t, s, ot.Problem{Cost: c, A: p.A, B: p.B}, tol)
		if v := triple.Cost(c); math.Abs(v-3*got) > 10*tol*top*total {
			t.Errorf("cost %g, at three times the cost %g", got, v)
		}
	}
	checkProcessors(t, s, p, plan)
}

// checkRelaxedLaws checks on one problem the laws that hold whatever mass is moved.
func checkRelaxedLaws(t *testing.T, s ot.Solver, p ot.Problem, tol float64) {
	n, m := p.Cost.Dims()
	a, b := orUniform(p.A, n), orUniform(p.B, m)
	plan, slack := solve(t, s, p, tol)
	if gn, gm := plan.Dims(); gn != n || gm != m {
		t.Fatalf("plan is %d × %d, want %d × %d", gn, gm, n, m)
	}
	rows, _, err := rowAndColumnSums(plan, a, b)
	if err != nil {
		t.Fatal(err)
	}
	moved := total(rows)
	if moved == 0 {
		t.Fatal("a plan without mass")
	}
	turned, more := solve(t, s, ot.Problem{Cost: p.Cost.T(), A: p.B, B: p.A}, tol)
	top := max(mat.Max(p.Cost), 1e-300)
	if c, back := plan.Cost(p.Cost), turned.Cost(p.Cost.T()); math.Abs(back-c) > 10*(slack+more)*top*moved {
		t.Errorf("cost %g, with sides exchanged %g", c, back)
	}
	checkProcessors(t, s, p, plan)
}

// checkMarginals checks the sums and the entries of a plan.
func checkMarginals(plan ot.Plan, a, b []float64, tol float64) error {
	n, m := plan.Dims()
	if n != len(a) || m != len(b) {
		return fmt.Errorf("plan is %d × %d, want %d × %d", n, m, len(a), len(b))
	}
	rows, cols, err := rowAndColumnSums(plan, a, b)
	if err != nil {
		return err
	}
	if d := l1Distance(rows, a) / total(a); d > tol+1e-14 {
		return fmt.Errorf("rows are off by %g, tolerance %g", d, tol)
	}
	if d := l1Distance(cols, b) / total(b); d > tol+1e-14 {
		return fmt.Errorf("columns are off by %g, tolerance %g", d, tol)
	}
	return nil
}

// rowAndColumnSums returns the sums of the rows and columns of a plan. It returns an error
// for an entry that is negative, not finite, or between units without mass.
func rowAndColumnSums(plan ot.Plan, a, b []float64) (rows, cols []float64, err error) {
	rows, cols = make([]float64, len(a)), make([]float64, len(b))
	for i := range a {
		for j := range b {
			v := plan.Mass().At(i, j)
			if !(v >= 0) || math.IsInf(v, 0) {
				return nil, nil, fmt.Errorf("plan[%d,%d] = %g", i, j, v)
			}
			if v > 0 && (a[i] == 0 || b[j] == 0) {
				return nil, nil, fmt.Errorf("plan[%d,%d] = %g between masses %g and %g", i, j, v, a[i], b[j])
			}
			rows[i] += v
			cols[j] += v
		}
	}
	return rows, cols, nil
}

// checkProcessors checks that one and several processors give the same plan.
func checkProcessors(t *testing.T, s ot.Solver, p ot.Problem, want ot.Plan) {
	t.Helper()
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for _, procs := range []int{1, 3} {
		runtime.GOMAXPROCS(procs)
		plan, _ := solve(t, s, p, 0)
		if !mat.Equal(plan.Mass(), want.Mass()) {
			t.Errorf("the plan differs at GOMAXPROCS %d", procs)
		}
	}
}

// checkContext checks contexts that end before and during the work.
func checkContext(t *testing.T, s ot.Solver) {
	p := ot.Problem{Cost: randomCost(rand.New(rand.NewPCG(1, 2)), 60, 50)}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Solve(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	ctx, cancel = context.WithCancel(context.Background())
	go cancel()
	plan, err := s.Solve(ctx, p)
	var late *ot.NotConvergedError
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil && !errors.As(err, &late):
		t.Errorf("error %v, want %v", err, context.Canceled)
	case plan.IsIdentity():
		t.Error("neither a plan nor an error")
	}
}

func orUniform(w []float64, n int) []float64 {
	if w != nil {
		return w
	}
	return scaled(mat.Col(nil, 0, constantCost(n, 1, 1)), 1/float64(n))
}

func scaled(w []float64, f float64) []float64 {
	out := make([]float64, len(w))
	for i, v := range w {
		out[i] = v * f
	}
	return out
}

func total(w []float64) (s float64) {
	for _, v := range w {
		s += v
	}
	return s
}

func l1Distance(x, y []float64) (d float64) {
	for i := range x {
		d += math.Abs(x[i] - y[i])
	}
	return d
}
