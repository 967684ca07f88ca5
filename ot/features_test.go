package ot_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// normalRows returns n rows of d features.
func normalRows(r *rand.Rand, n, d int) *mat.Dense {
	x := mat.NewDense(n, d, nil)
	x.Apply(func(_, _ int, _ float64) float64 { return r.NormFloat64() }, x)
	return x
}

// What is solved from features is what is solved from their cost.
func TestSolveFeatures(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(5, 6))
	x, y := normalRows(r, 150, 5), normalRows(r, 131, 5)
	a, b := make([]float64, 150), make([]float64, 131)
	for i := range a {
		a[i] = 0.5 + r.Float64()
	}
	for j := range b {
		b[j] = 0.5 + r.Float64()
	}
	floats.Scale(3/floats.Sum(a), a)
	floats.Scale(3/floats.Sum(b), b)
	for name, metric := range map[string]ot.Metric{"default": nil, "squared": ot.SqEuclidean{}, "cosine": ot.Cosine{}} {
		for _, reg := range []float64{0, 0.05, 0.005} {
			known := metric
			if known == nil {
				known = ot.Euclidean{}
			}
			cost, err := known.Cost(ot.NewGram(x, y))
			require.NoError(t, err)
			if reg != 0 {
				reg *= mat.Max(cost)
			}
			s := ot.Sinkhorn{Reg: reg, Tol: 1e-10, MaxIter: 100000}
			want, err := s.SolveResult(ctx, ot.Problem{Cost: cost, A: a, B: b})
			require.NoError(t, err)
			got, err := s.SolveFeatures(ctx, ot.Features{X: x, Y: y, Metric: metric, A: a, B: b})
			require.NoError(t, err)
			assert.LessOrEqual(t, got.Residual, 1e-10)
			assert.InEpsilon(t, want.Reg, got.Reg, 1e-12)
			assert.InEpsilon(t, want.Objective, got.Objective, 1e-7, "%s, ε %g", name, reg)
			assert.InEpsilon(t, want.Regularised, got.Regularised, 1e-7, "%s, ε %g", name, reg)
			shift := want.Duals.U[0] - got.Duals.U[0] // potentials are unique up to a constant
			for i := range a {
				assert.InDelta(t, want.Duals.U[i], got.Duals.U[i]+shift, 1e-6*mat.Max(cost))
			}
			points, err := want.Plan.Project(y)
			require.NoError(t, err)
			streamed, err := got.Project(ctx, y)
			require.NoError(t, err)
			assert.True(t, mat.EqualApprox(points, streamed, 1e-6), "%s, ε %g", name, reg)

			warm, err := ot.Sinkhorn{Reg: reg, Tol: 1e-10, Start: &got.Duals}.
				SolveFeatures(ctx, ot.Features{X: x, Y: y, Metric: metric, A: a, B: b})
			require.NoError(t, err)
			assert.Less(t, warm.Iterations, max(5, got.Iterations/2))
		}
	}
}

// The float32 cost of features is their cost, rounded, and EMD finds the same plan.
func TestFeaturesCost(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(7, 8))
	x, y := normalRows(r, 130, 6), normalRows(r, 130, 6)
	want, err := ot.SqEuclidean{}.Cost(ot.NewGram(x, y))
	require.NoError(t, err)
	got, err := ot.Features{X: x, Y: y, Metric: ot.SqEuclidean{}}.Cost(ctx)
	require.NoError(t, err)
	for k, v := range want.RawMatrix().Data {
		require.InDelta(t, v, float64(got.Data[k]), 1e-5)
	}
	exact, err := ot.EMD{}.Solve(ctx, ot.Problem{Cost: want})
	require.NoError(t, err)
	rounded, err := ot.EMD{}.Solve(ctx, ot.Problem{Cost: got})
	require.NoError(t, err)
	assert.InEpsilon(t, exact.Cost(want), rounded.Cost(want), 1e-6)
}

// wide is a metric that returns a cost of another shape.
type wide struct{}

func (wide) Cost(ot.Gram) (*mat.Dense, error) { return mat.NewDense(1, 1, nil), nil }

func TestBadFeatures(t *testing.T) {
	ctx := context.Background()
	x, y := mat.NewDense(3, 2, []float64{1, 2, 3, 4, 5, 6}), mat.NewDense(2, 2, []float64{1, 0, 0, 1})
	late, cancel := context.WithCancel(ctx)
	cancel()
	_, err := ot.Sinkhorn{}.SolveFeatures(late, ot.Features{X: x, Y: y})
	require.ErrorIs(t, err, context.Canceled)
	r, err := ot.Sinkhorn{MaxIter: 1, Tol: 1e-12}.SolveFeatures(ctx, ot.Features{X: x, Y: y})
	var warning *ot.NotConvergedError
	require.ErrorAs(t, err, &warning)
	assert.Equal(t, 1, r.Iterations)
	_, err = r.Project(ctx, x)
	require.ErrorIs(t, err, ot.ErrShape)
	far, unknown := mat.NewDense(1, 2, []float64{0, 1e300}), ot.Duals{V: []float64{1, math.NaN()}}
	for name, c := range map[string]struct {
		f    ot.Features
		s    ot.Sinkhorn
		want error
	}{
		"nothing":    {f: ot.Features{}, want: ot.ErrShape},
		"one side":   {f: ot.Features{X: x}, want: ot.ErrShape},
		"widths":     {f: ot.Features{X: x, Y: mat.NewDense(2, 3, nil)}, want: ot.ErrShape},
		"not finite": {f: ot.Features{X: x, Y: mat.NewDense(1, 2, []float64{0, math.NaN()})}, want: ot.ErrNotFinite},
		"overflow":   {f: ot.Features{X: x, Y: far, Metric: ot.SqEuclidean{}}, want: ot.ErrNotFinite},
		"scaled":     {f: ot.Features{X: x, Y: y, Metric: ot.Scaled{Metric: ot.Euclidean{}}}, want: ot.ErrOption},
		"metric":     {f: ot.Features{X: x, Y: y, Metric: wide{}}, want: ot.ErrShape},
		"masses":     {f: ot.Features{X: x, Y: y, A: []float64{1}}, want: ot.ErrShape},
		"no mass":    {f: ot.Features{X: x, Y: y, A: []float64{1, 0, 1}, B: []float64{1, 1}}, want: ot.ErrEmpty},
		"totals":     {f: ot.Features{X: x, Y: y, A: []float64{1, 1, 1}, B: []float64{1, 1}}, want: ot.ErrUnbalanced},
		"start":      {f: ot.Features{X: x, Y: y}, s: ot.Sinkhorn{Start: &ot.Duals{V: []float64{1}}}, want: ot.ErrShape},
		"NaN start":  {f: ot.Features{X: x, Y: y}, s: ot.Sinkhorn{Start: &unknown}, want: ot.ErrNotFinite},
		"option":     {f: ot.Features{X: x, Y: y}, s: ot.Sinkhorn{Reg: -1}, want: ot.ErrOption},
		"tiny ε":     {f: ot.Features{X: x, Y: y}, s: ot.Sinkhorn{Reg: 1e-100}, want: ot.ErrOption},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.s.SolveFeatures(ctx, c.f)
			var invalid *ot.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.ErrorIs(t, err, c.want)
		})
	}
	_, err = ot.Features{X: x, Y: mat.NewDense(1, 2, []float64{0, 1e30}), Metric: ot.SqEuclidean{}}.Cost(ctx)
	require.ErrorIs(t, err, ot.ErrNotFinite) // of float32
}
