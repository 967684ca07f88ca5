package ottest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

func TestSuiteHoldsForEMD(t *testing.T) { TestSolver(t, ot.EMD{}, 1e-12) }

// The suite is worth what its checks catch.
func TestMarginalsCatches(t *testing.T) {
	a, b := []float64{0.5, 0.5}, []float64{1, 0}
	for name, c := range map[string]struct {
		mass []float64
		want string
	}{
		"rows":     {[]float64{0.4, 0, 0.6, 0}, "rows are off"},
		"empty":    {[]float64{0.5, 0, 0.4, 0.1}, "between masses"},
		"negative": {[]float64{0.6, -0.1, 0.5, 0}, "plan[0,1]"},
	} {
		plan, err := ot.NewPlan(mat.NewDense(2, 2, c.mass), a, b)
		if name == "negative" {
			require.ErrorIs(t, err, ot.ErrNegative)
			continue
		}
		require.NoError(t, err)
		require.ErrorContains(t, checkMarginals(plan, a, b, 1e-9), c.want, name)
		require.ErrorContains(t, checkMarginals(plan, a[:1], b, 1e-9), "plan is 2 × 2", name)
	}
	plan, err := ot.EMD{}.Solve(context.Background(), ot.Problem{Cost: constantCost(2, 2, 1), A: a, B: b})
	require.NoError(t, err)
	require.NoError(t, checkMarginals(plan, a, b, 0))
}
