package ottest

import (
	"context"
	"errors"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// DualSolver is an exact solver that proves its plans by potentials, as [ot.EMD] does.
type DualSolver interface {
	ot.Solver
	SolveDual(ctx context.Context, p ot.Problem) (ot.Plan, ot.Duals, error)
}

// TestDual runs the laws of exact solvers with potentials, made from a warm start that may
// be nil: the plan is that of Solve, [ot.Certify] proves it by the potentials, and any
// start leads to a plan of the same cost. Costs hold to tol, relative to the largest cost
// and the mass.
func TestDual(t *testing.T, solver func(start *ot.Duals) DualSolver, tol float64) {
	t.Helper()
	for _, p := range problems() {
		t.Run(p.name, func(t *testing.T) {
			plan, duals := checkCertificate(t, solver(nil), p.Problem, tol)
			again, err := solver(nil).Solve(context.Background(), p.Problem)
			if err != nil || !mat.Equal(plan.Mass(), again.Mass()) {
				t.Fatalf("Solve gives another plan or error: %v", err)
			}
			for name, f := range starts() {
				start := ot.Duals{U: mapped(duals.U, f), V: mapped(duals.V, f)}
				warm, _ := checkCertificate(t, solver(&start), p.Problem, tol)
				slack := 2 * tol * mat.Max(p.Cost) * mat.Sum(plan.Mass())
				if d := warm.Cost(p.Cost) - plan.Cost(p.Cost); d > slack || -d > slack {
					t.Errorf("%s: the cost differs by %g", name, d)
				}
			}
		})
	}
	for _, b := range mistakes() {
		plan, duals, err := solver(nil).SolveDual(context.Background(), b.Problem)
		if err == nil && errors.Is(b.want, ot.ErrNegative) && b.field == "Cost" {
			continue // a solver may take negative costs
		}
		if !errors.As(err, new(*ot.InvalidError)) || !plan.IsIdentity() || duals.U != nil {
			t.Errorf("%s: potentials %v, error %v", b.name, duals, err)
		}
	}
}

// checkCertificate checks that the potentials prove the plan optimal.
func checkCertificate(t *testing.T, s DualSolver, p ot.Problem, tol float64) (ot.Plan, ot.Duals) {
	t.Helper()
	plan, duals, err := s.SolveDual(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ot.Certify(p, plan, duals)
	if err != nil {
		t.Fatal(err)
	}
	top, mass := mat.Max(p.Cost), mat.Sum(plan.Mass())
	if c.Infeasible > tol*top || c.Gap > tol*top*mass || c.Gap < -tol*top*mass || c.Violation > tol*mass {
		t.Errorf("the potentials do not prove the plan: %+v", c)
	}
	return plan, duals
}

// starts returns changes of the potentials of a solution that make other starts.
func starts() map[string]func(v float64) float64 {
	return map[string]func(v float64) float64{
		"its own potentials": func(v float64) float64 { return v },
		"zeros":              func(v float64) float64 { return v * 0 },
		"near":               func(v float64) float64 { return 0.99 * v },
		"far":                func(v float64) float64 { return -3 * v },
	}
}
