package ot_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

func TestPlanReadings(t *testing.T) {
	mass := mat.NewDense(2, 3, []float64{0.1, 0.3, 0, 0.2, 0.4, 0})
	p, err := ot.NewPlan(mass, []float64{0.5, 0.25}, []float64{0.1, 0.5, 0})
	require.NoError(t, err)
	// Push and Pull divide by the marginals, not by the sums.
	near(t, mat.NewDense(2, 3, []float64{1, 0.6, 0, 2, 0.8, 0}), p.Push(), 1e-15)
	near(t, mat.NewDense(2, 3, []float64{0.2, 0.6, 0, 0.8, 1.6, 0}), p.Pull(), 1e-15)
	mass.Set(0, 0, 9)
	require.Equal(t, 0.1, p.Mass().At(0, 0), "the plan keeps a copy")
	a, b := p.Marginals()
	require.Equal(t, []float64{0.5, 0.25}, a)
	a[0], b[0] = 7, 7
	a, b = p.Marginals()
	require.Equal(t, 0.5, a[0])
	require.Equal(t, 0.1, b[0])
	n, m := p.Dims()
	require.Equal(t, [2]int{2, 3}, [2]int{n, m})
	require.InDelta(t, 0.5, p.Diagonal(), 1e-15)
	require.InDelta(t, 0.1*2+0.3*3+0.2*5+0.4*6, p.Cost(mat.NewDense(2, 3, []float64{2, 3, 4, 5, 6, 7})), 1e-15)
	entropy := -(0.1*math.Log(0.1) + 0.3*math.Log(0.3) + 0.2*math.Log(0.2) + 0.4*math.Log(0.4))
	require.InDelta(t, entropy, p.Entropy(), 1e-15)
	require.True(t, math.IsNaN(p.Cost(mat.NewDense(3, 2, nil))))
	_, ok := p.Permutation()
	require.False(t, ok)
}

// The n × m matrix with ones on its diagonal and unit masses is its own Push and Pull.
func TestPlanEye(t *testing.T) {
	eye := mat.NewDense(2, 3, []float64{1, 0, 0, 0, 1, 0})
	p, err := ot.NewPlan(eye, []float64{1, 1}, []float64{1, 1, 1})
	require.NoError(t, err)
	require.True(t, mat.Equal(eye, p.Push()))
	require.True(t, mat.Equal(eye, p.Pull()))
}

func TestPlanIdentity(t *testing.T) {
	var p ot.Plan
	require.True(t, p.IsIdentity())
	require.Nil(t, p.Mass())
	require.Nil(t, p.Push())
	require.Nil(t, p.Pull())
	n, m := p.Dims()
	require.Zero(t, n+m)
	require.Equal(t, 1.0, p.Diagonal())
	require.Zero(t, p.Entropy())
	require.Equal(t, 2.5, p.Cost(mat.NewDense(2, 2, []float64{1, 9, 9, 4})))
	require.True(t, math.IsNaN(p.Cost(mat.NewDense(2, 1, nil))))
	require.True(t, math.IsNaN(p.Cost(nil)))
	_, ok := p.Permutation()
	require.False(t, ok)
}

func TestPermutationPlan(t *testing.T) {
	perm := []int{2, 0, 1}
	p, err := ot.PermutationPlan(perm)
	require.NoError(t, err)
	got, ok := p.Permutation()
	require.True(t, ok)
	require.Equal(t, perm, got)
	// Target j takes source perm[j].
	var y mat.Dense
	y.Mul(mat.NewDense(1, 3, []float64{10, 11, 12}), p.Push())
	require.Equal(t, []float64{12, 10, 11}, y.RawRowView(0))
	require.InDelta(t, math.Log(3), p.Entropy(), 1e-15)
	require.Zero(t, p.Diagonal())
	for _, bad := range [][]int{nil, {0, 0}, {1, 2}, {-1, 0}} {
		_, err := ot.PermutationPlan(bad)
		require.ErrorIs(t, err, ot.ErrShape)
	}
}

func TestPermutationTolerance(t *testing.T) {
	for _, c := range []struct {
		off  float64
		want bool
	}{{1e-10, true}, {1e-8, false}} {
		mass, ones := mat.NewDense(2, 2, []float64{c.off, 1 - c.off, 1 - c.off, c.off}), []float64{1, 1}
		p, err := ot.NewPlan(mass, ones, ones)
		require.NoError(t, err)
		_, ok := p.Permutation()
		require.Equal(t, c.want, ok)
	}
	// A plan that moves every unit as a whole is no permutation where the masses of the
	// two sides differ.
	p, err := ot.NewPlan(mat.NewDense(2, 2, []float64{1, 0, 0, 1}), []float64{1, 1}, []float64{1, 2})
	require.NoError(t, err)
	_, ok := p.Permutation()
	require.False(t, ok)
	// Nor is a plan that moves two rows into one column.
	p, err = ot.NewPlan(mat.NewDense(2, 2, []float64{1, 0, 1, 0}), []float64{1, 1}, []float64{1, 1})
	require.NoError(t, err)
	_, ok = p.Permutation()
	require.False(t, ok)
}

func TestNewPlanRejects(t *testing.T) {
	one := mat.NewDense(1, 2, []float64{1, 0})
	for _, c := range []struct {
		mass *mat.Dense
		a, b []float64
		want error
	}{
		{nil, nil, nil, ot.ErrShape},
		{&mat.Dense{}, nil, nil, ot.ErrShape},
		{one, []float64{1, 2}, nil, ot.ErrShape},
		{one, nil, []float64{1}, ot.ErrShape},
		{one, []float64{math.NaN()}, nil, ot.ErrNotFinite},
		{one, nil, []float64{-1, 2}, ot.ErrNegative},
		{one, []float64{0}, nil, ot.ErrEmpty},
		{mat.NewDense(1, 2, nil), nil, nil, ot.ErrEmpty},
		{mat.NewDense(1, 2, []float64{1, math.Inf(1)}), nil, nil, ot.ErrNotFinite},
		{mat.NewDense(1, 2, []float64{1, -1}), nil, nil, ot.ErrNegative},
	} {
		p, err := ot.NewPlan(c.mass, c.a, c.b)
		require.ErrorIs(t, err, c.want)
		require.ErrorAs(t, err, new(*ot.InvalidError))
		require.True(t, p.IsIdentity())
	}
}

func TestErrorsNameTheEntry(t *testing.T) {
	c := mat.NewDense(2, 3, []float64{0, 1, 2, 3, math.NaN(), 5})
	require.EqualError(t, ot.Problem{Cost: c}.Validate(), "ot: Cost[1,1] = NaN: not a finite number")
	c.Set(1, 1, 4)
	require.NoError(t, ot.Problem{Cost: c}.Validate())
	require.EqualError(t, ot.Problem{Cost: c, A: []float64{1, -2}}.Validate(), "ot: A[1] = -2: negative")
	require.EqualError(t, ot.Problem{Cost: c, A: []float64{1, 1}}.Validate(),
		"ot: B: total masses differ: A sums to 2, B to 1")
	require.NoError(t, ot.Problem{Cost: c, A: []float64{1 + 9e-10, 0}}.Validate())
	// A view with a stride is read as it is.
	wide := mat.NewDense(2, 4, []float64{0, 1, 2, -9, 3, 4, 5, -9})
	require.NoError(t, ot.Problem{Cost: wide.Slice(0, 2, 0, 3)}.Validate())
	require.EqualError(t, ot.Problem{Cost: wide.T()}.Validate(), "ot: Cost[3,0] = -9: negative")
}

// A nil matrix, also one with a type, a nil context and a nil cost in a Scale are
// errors or nothing to do, and never a panic.
func TestNil(t *testing.T) {
	ok := mat.NewDense(2, 2, []float64{0, 1, 1, 0})
	var dense *mat.Dense
	require.EqualError(t, ot.Problem{Cost: dense}.Validate(), "ot: Cost: shapes do not fit: nil")
	require.ErrorIs(t, ot.NewGram(dense, ok).Validate(), ot.ErrShape)
	for _, s := range []ot.Scale{ot.ScaleMax{}, ot.ScaleMean{}, ot.ScaleMedian{}, ot.ScaleLog{}} {
		require.NotPanics(t, func() { s.Apply(nil) })
	}
	var none context.Context
	for _, s := range []ot.Solver{
		ot.EMD{}, ot.Sinkhorn{}, ot.Unbalanced{}, ot.Partial{Share: 0.5}, ot.PartialSinkhorn{},
		inside{ot.GromovWasserstein{}}, inside{ot.EntropicGromovWasserstein{}},
	} {
		plan, err := s.Solve(none, ot.Problem{Cost: ok})
		require.EqualError(t, err, "ot: ctx: option out of range: nil")
		require.True(t, plan.IsIdentity())
	}
	_, err := ot.Barycenter{}.Solve(none, ok, [][]float64{nil}, nil)
	require.ErrorIs(t, err, ot.ErrOption)
}

func TestPlanProject(t *testing.T) {
	points := mat.NewDense(3, 2, []float64{0, 0, 4, 0, 0, 8})
	mass := mat.NewDense(3, 3, []float64{0.25, 0.25, 0, 0, 0, 0.5, 0, 0, 0})
	plan, err := ot.NewPlan(mass, []float64{0.5, 0.5, 0}, nil)
	require.NoError(t, err)
	got, err := plan.Project(points)
	require.NoError(t, err)
	near(t, mat.NewDense(3, 2, []float64{2, 0, 0, 8, 0, 0}), got, 0)
	var want mat.Dense
	want.Mul(plan.Pull(), points)
	near(t, &want, got, 1e-15)

	got, err = ot.Plan{}.Project(points)
	require.NoError(t, err)
	near(t, points, got, 0)
	got.Set(0, 0, 9)
	require.Zero(t, points.At(0, 0), "a copy")

	_, err = plan.Project(mat.NewDense(2, 2, nil))
	require.EqualError(t, err, "ot: points: shapes do not fit: 2 × 2 for 3 target units")
	_, err = plan.Project(nil)
	require.ErrorIs(t, err, ot.ErrShape)
	points.Set(1, 1, math.Inf(1))
	_, err = plan.Project(points)
	require.ErrorContains(t, err, "points[1,1] = +Inf")
}

func TestPlanString(t *testing.T) {
	require.Equal(t, "identity plan", ot.Plan{}.String())
	plan, err := ot.NewPlan(mat.NewDense(2, 2, []float64{0.5, 0.25, 0, 0.25}), nil, nil)
	require.NoError(t, err)
	require.Equal(t, "plan of 2 × 2 units: mass 1, entropy 1.04 nats, 0.75 on the diagonal", plan.String())
}
