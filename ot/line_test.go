package ot_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// The closed form on a line costs what the general solver finds.
func TestLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(81, 1))
	for _, d := range [][2]int{{1, 1}, {1, 4}, {6, 6}, {9, 5}, {40, 60}} {
		n, m := d[0], d[1]
		l := ot.Line{X: make([]float64, n), Y: make([]float64, m), A: randomMass(rng, n), B: randomMass(rng, m)}
		for i := range l.X {
			l.X[i] = float64(rng.IntN(9)) // ties
		}
		for j := range l.Y {
			l.Y[j] = 5 * rng.NormFloat64()
		}
		if n > 1 {
			l.A[n/2] = 0
			scaledTo(l.B, l.A)
		}
		for _, power := range []float64{0, 1, 1.5, 2, 7} {
			for _, masses := range []bool{true, false} {
				l.Power = power
				if !masses {
					l.A, l.B = nil, nil
				}
				cost := mat.NewDense(n, m, nil)
				cost.Apply(func(i, j int, _ float64) float64 {
					return math.Pow(math.Abs(l.X[i]-l.Y[j]), max(power, 1))
				}, cost)
				plan, got, err := l.Solve()
				require.NoError(t, err)
				require.LessOrEqual(t, off(t, plan), 1e-12)
				require.InEpsilon(t, 1+plan.Cost(cost), 1+got, 1e-12)
				want := mustSolve(t, ot.EMD{}, ot.Problem{Cost: cost, A: l.A, B: l.B})
				require.InEpsilon(t, 1+want.Cost(cost), 1+got, 1e-9)
			}
		}
	}
	// Equal points keep their order.
	plan, cost, err := ot.Line{X: []float64{3, 3, 1}, Y: []float64{3, 3, 1}}.Solve()
	require.NoError(t, err)
	require.Equal(t, 1., plan.Diagonal())
	require.Zero(t, cost)
}

func TestLineRejects(t *testing.T) {
	for _, c := range []struct {
		line ot.Line
		want string
	}{
		{ot.Line{}, "ot: X: shapes do not fit: no points"},
		{ot.Line{X: []float64{1}}, "ot: Y: shapes do not fit: no points"},
		{ot.Line{X: []float64{1}, Y: []float64{2, math.NaN()}}, "ot: Y[1] = NaN: not a finite number"},
		{ot.Line{X: []float64{1}, Y: []float64{2}, Power: 0.5}, "ot: Power: option out of range: 0.5"},
		{ot.Line{X: []float64{1}, Y: []float64{2}, A: []float64{2}}, "ot: B: total masses differ: A sums to 2, B to 1"},
		{ot.Line{X: []float64{1}, Y: []float64{2}, A: []float64{-1}}, "ot: A[0] = -1: negative"},
		{ot.Line{X: []float64{-1e300}, Y: []float64{1e300}, Power: 2}, "ot: X: not a finite number: the cost overflows"},
	} {
		plan, _, err := c.line.Solve()
		require.EqualError(t, err, c.want)
		require.True(t, plan.IsIdentity())
	}
}
