package ot_test

import (
	"testing"

	"github.com/otfuse/otfuse/ot"
	"github.com/otfuse/otfuse/ot/ottest"
)

func TestConformance(t *testing.T) {
	t.Run("EMD", func(t *testing.T) { ottest.TestSolver(t, ot.EMD{}, 1e-12) })
	t.Run("Sinkhorn", func(t *testing.T) { ottest.TestSolver(t, ot.Sinkhorn{}, ot.DefaultTol) })
	t.Run("Sinkhorn wide", func(t *testing.T) { ottest.TestSolver(t, ot.Sinkhorn{Reg: 10, Tol: 1e-12}, 1e-12) })
	t.Run("Sinkhorn narrow", func(t *testing.T) { ottest.TestSolver(t, ot.Sinkhorn{Reg: 1e-3, Tol: 1e-7}, 1e-7) })
	t.Run("Sinkhorn brief", func(t *testing.T) { ottest.TestSolver(t, ot.Sinkhorn{Reg: 1e-3, MaxIter: 3}, 1e-9) })
}
