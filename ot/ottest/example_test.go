package ottest_test

import (
	"testing"

	"github.com/otfuse/otfuse/ot"
	"github.com/otfuse/otfuse/ot/ottest"
)

// A test of a solver, and of its results and warm starts.
func Example() {
	_ = func(t *testing.T) {
		ottest.TestSolver(t, ot.Sinkhorn{}, ot.DefaultTol)
		ottest.TestResult(t, func(start *ot.Duals) ot.ResultSolver {
			return ot.Sinkhorn{Start: start}
		}, ot.DefaultMaxIter, 1e-6)
	}
}
