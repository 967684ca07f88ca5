package ottest

import (
	"context"
	"errors"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// mistake is an invalid problem, with the position and the sentinel that its error should
// have.
type mistake struct {
	problem
	field    string
	row, col int
	want     error
}

func mistakes() []mistake {
	c := func(at int, v float64) *mat.Dense {
		x := constantCost(2, 3, 1)
		x.Set(at/3, at%3, v)
		return x
	}
	ok := constantCost(2, 3, 1)
	nan, inf := math.NaN(), math.Inf(1)
	third, unequal := []float64{0.25, 0.25, 0.5}, []float64{0.5, 0.5 + 1e-8}
	return []mistake{
		{problem{"no cost", ot.Problem{}}, "Cost", -1, -1, ot.ErrShape},
		{problem{"nil cost", ot.Problem{Cost: (*mat.Dense)(nil)}}, "Cost", -1, -1, ot.ErrShape},
		{problem{"empty cost", ot.Problem{Cost: &mat.Dense{}}}, "Cost", -1, -1, ot.ErrShape},
		{problem{"NaN cost", ot.Problem{Cost: c(4, nan)}}, "Cost", 1, 1, ot.ErrNotFinite},
		{problem{"infinite cost", ot.Problem{Cost: c(2, inf)}}, "Cost", 0, 2, ot.ErrNotFinite},
		{problem{"negative cost", ot.Problem{Cost: c(3, -1)}}, "Cost", 1, 0, ot.ErrNegative},
		{problem{"few masses", ot.Problem{Cost: ok, A: []float64{1}}}, "A", -1, -1, ot.ErrShape},
		{problem{"many masses", ot.Problem{Cost: ok, B: []float64{1, 1, 1, 1}}}, "B", -1, -1, ot.ErrShape},
		{problem{"NaN mass", ot.Problem{Cost: ok, A: []float64{1, nan}}}, "A", 1, -1, ot.ErrNotFinite},
		{problem{"infinite mass", ot.Problem{Cost: ok, B: []float64{1, inf, 0}}}, "B", 1, -1, ot.ErrNotFinite},
		{problem{"negative mass", ot.Problem{Cost: ok, A: []float64{2, -1}}}, "A", 1, -1, ot.ErrNegative},
		{problem{"no mass", ot.Problem{Cost: ok, A: []float64{0, 0}}}, "A", -1, -1, ot.ErrEmpty},
		{problem{"empty masses", ot.Problem{Cost: ok, B: []float64{}}}, "B", -1, -1, ot.ErrShape},
		{problem{"unequal masses", ot.Problem{Cost: ok, A: unequal, B: third}}, "B", -1, -1, ot.ErrUnbalanced},
	}
}

// checkRejects checks that s reports the mistake and returns no plan. A solver may take
// negative costs; a constant on all of them must not change its plan then.
func checkRejects(t *testing.T, s ot.Solver, b mistake) {
	plan, err := s.Solve(context.Background(), b.Problem)
	if err == nil && errors.Is(b.want, ot.ErrNegative) && b.field == "Cost" {
		c := mat.DenseCopyOf(b.Cost)
		c.Apply(func(_, _ int, v float64) float64 { return v + 1 }, c)
		if raised, _ := solve(t, s, ot.Problem{Cost: c}, 0); !mat.Equal(raised.Mass(), plan.Mass()) {
			t.Error("a constant on all costs changes the plan")
		}
		return
	}
	var e *ot.InvalidError
	if !errors.As(err, &e) || !errors.Is(err, b.want) {
		t.Fatalf("error %v, want an InvalidError: %v", err, b.want)
	}
	if e.Field != b.field || e.Row != b.row || e.Col != b.col {
		t.Errorf("error at %s[%d,%d], want %s[%d,%d]", e.Field, e.Row, e.Col, b.field, b.row, b.col)
	}
	if !plan.IsIdentity() {
		t.Error("a plan came with the error")
	}
}
