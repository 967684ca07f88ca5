package ottest

import (
	"context"
	"errors"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// Starter makes a solver that starts from the given potentials, nil for none.
type Starter func(start *ot.Duals) ot.ResultSolver

// TestResult runs the laws of [ot.ResultSolver]: the plan is that of Solve, the potentials
// give the plan, the objective without regularisation is at least the cost of the plan,
// residual and iterations agree with the error, there are at most maxIter iterations, a
// warm start from the potentials of a solution stays there, and any other start leads to
// the same plan.
//
// The solvers that are made must differ in their start only. Plans are compared to tol,
// the largest L1 difference of a column relative to the mass. Where a solver stops early,
// only laws that hold for every iterate are checked.
func TestResult(t *testing.T, solver Starter, maxIter int, tol float64) {
	t.Helper()
	for _, p := range problems() {
		t.Run(p.name, func(t *testing.T) {
			want, err := solver(nil).SolveResult(context.Background(), p.Problem)
			if checkConsistent(t, solver(nil), p.Problem, want, err); want.Iterations > maxIter {
				t.Errorf("%d iterations, at most %d are allowed", want.Iterations, maxIter)
			}
			if err == nil {
				checkWarmStarts(t, solver, p.Problem, want, tol)
			}
		})
	}
	for _, b := range mistakes() {
		if errors.Is(b.want, ot.ErrUnbalanced) {
			continue // only some solvers ask for equal totals
		}
		r, err := solver(nil).SolveResult(context.Background(), b.Problem)
		if !errors.As(err, new(*ot.InvalidError)) || !r.Plan.IsIdentity() || r.Duals.U != nil {
			t.Errorf("%s: result %v, error %v", b.name, r, err)
		}
	}
}

// checkConsistent checks that a result says the same in all its fields.
func checkConsistent(t *testing.T, s ot.ResultSolver, p ot.Problem, r ot.Result, err error) {
	t.Helper()
	plan, again := s.Solve(context.Background(), p)
	var late *ot.NotConvergedError
	switch {
	case errors.As(err, &late):
		if late.Iterations != r.Iterations || late.Residual != r.Residual {
			t.Errorf("the error is %v, the result has %d iterations, residual %g", late, r.Iterations, r.Residual)
		}
	case err != nil:
		t.Fatal(err)
	}
	if (again == nil) != (err == nil) || !mat.Equal(plan.Mass(), r.Plan.Mass()) {
		t.Fatalf("Solve gives another plan or error: %v, %v", again, err)
	}
	n, m := r.Plan.Dims()
	if len(r.Duals.U) != n || len(r.Duals.V) != m {
		t.Fatalf("%d and %d potentials for %d × %d units", len(r.Duals.U), len(r.Duals.V), n, m)
	}
	total := mat.Sum(r.Plan.Mass())
	for i, u := range r.Duals.U {
		for j, v := range r.Duals.V {
			got, want := math.Exp((u+v-p.Cost.At(i, j))/r.Reg), r.Plan.Mass().At(i, j)
			if math.Abs(got-want) > 1e-9*want+1e-14*total {
				t.Fatalf("plan[%d,%d] = %g, by the potentials %g", i, j, want, got)
			}
		}
	}
	if low := r.Plan.Cost(p.Cost); r.Objective < low*(1-1e-12) {
		t.Errorf("objective %g is below the cost of the plan %g", r.Objective, low)
	}
}

// checkWarmStarts checks warm starts from a solution, near it and far from it.
func checkWarmStarts(t *testing.T, solver Starter, p ot.Problem, want ot.Result, tol float64) {
	t.Helper()
	run := func(start ot.Duals, name string) ot.Result {
		got, err := solver(&start).SolveResult(context.Background(), p)
		if errors.As(err, new(*ot.NotConvergedError)) && name != "its own potentials" {
			return got // a bad start may take longer than is allowed
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var d mat.Dense
		d.Sub(want.Plan.Mass(), got.Plan.Mass())
		if off := mat.Norm(&d, 1) / mat.Sum(want.Plan.Mass()); off > tol {
			t.Errorf("%s: the plan differs by %g", name, off)
		}
		return got
	}
	for name, f := range starts() {
		got := run(ot.Duals{U: mapped(want.Duals.U, f), V: mapped(want.Duals.V, f)}, name)
		if name == "its own potentials" && got.Iterations > max(2, want.Iterations) {
			t.Errorf("%d iterations from the solution, %d without a start", got.Iterations, want.Iterations)
		}
	}
}

// mapped applies f to the potentials of units with mass.
func mapped(x []float64, f func(float64) float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		if out[i] = v; !math.IsInf(v, 0) {
			out[i] = f(v)
		}
	}
	return out
}
