package gomlx

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/ot"
	"github.com/otfuse/otfuse/ot/ottest"
)

// distances are those between two Gaussian clouds, the largest being 1.
func distances(t *testing.T, n, m int) *mat.Dense {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(m)))
	x, y := mat.NewDense(n, 8, nil), mat.NewDense(m, 8, nil)
	for _, d := range []*mat.Dense{x, y} {
		d.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, d)
	}
	c, err := ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}.Cost(ot.NewGram(x, y))
	require.NoError(t, err)
	return c
}

// The plans of ot.Sinkhorn, to 1e-6 of a unit's mass.
func TestSinkhorn(t *testing.T) {
	d := openDevice(t)
	const n, m = 70, 45
	cost := distances(t, n, m)
	uneven := ot.Problem{Cost: cost, A: make([]float64, n), B: make([]float64, m)}
	for i := range n {
		uneven.A[i] = float64(i%7) / 1e3 // some without mass
	}
	for j := range m {
		uneven.B[j] = mat.Sum(mat.NewVecDense(n, uneven.A)) / m
	}
	for _, p := range []ot.Problem{{Cost: cost}, uneven} {
		for _, reg := range []float64{1, 0.08, 0.005} {
			want, err := ot.Sinkhorn{Reg: reg, Tol: 1e-10}.Solve(t.Context(), p)
			require.NoError(t, err)
			got, err := d.Sinkhorn(ot.Sinkhorn{Reg: reg, Tol: 1e-10}).Solve(t.Context(), p)
			require.NoError(t, err)
			mass, _ := want.Marginals()
			unit := mat.Max(mat.NewVecDense(n, mass))
			require.LessOrEqual(t, modeltest.Apart(t, flatten(want), flatten(got)), 1e-6*unit, "reg %g", reg)
		}
	}
}

func flatten(p ot.Plan) []float64 { return mat.DenseCopyOf(p.Mass()).RawMatrix().Data }

// From the potentials of the solution itself it is there at once, and ε follows
// the largest cost where it is not set.
func TestSinkhornStart(t *testing.T) {
	d := openDevice(t)
	p := ot.Problem{Cost: distances(t, 70, 45)}
	p.Cost.(*mat.Dense).Scale(1e-3, p.Cost)
	want, err := ot.Sinkhorn{}.SolveResult(t.Context(), p)
	require.NoError(t, err)
	for _, start := range []*ot.Duals{nil, &want.Duals} {
		got, err := d.Sinkhorn(ot.Sinkhorn{Start: start}).Solve(t.Context(), p)
		require.NoError(t, err)
		require.LessOrEqual(t, modeltest.Apart(t, flatten(want.Plan), flatten(got)), 1e-6/70)
	}
	_, err = d.Sinkhorn(ot.Sinkhorn{MaxIter: 2}).Solve(t.Context(), p)
	var late *ot.NotConvergedError
	require.ErrorAs(t, err, &late)
	require.LessOrEqual(t, late.Iterations, 2)
	_, err = d.Sinkhorn(ot.Sinkhorn{MaxIter: 2, Tol: 1e-6, Start: &want.Duals}).Solve(t.Context(), p)
	require.NoError(t, err)
	_, err = d.Sinkhorn(ot.Sinkhorn{Start: &ot.Duals{V: make([]float64, 44)}}).Solve(t.Context(), p)
	require.ErrorIs(t, err, ot.ErrShape)
	for _, bad := range []ot.Sinkhorn{{Reg: -1}, {Reg: math.NaN()}, {Reg: math.Inf(1)}, {Tol: -1}, {Tol: math.NaN()},
		{MaxIter: -1}, {Reg: 1e-16}} {
		_, err = d.Sinkhorn(bad).Solve(t.Context(), p)
		require.ErrorIs(t, err, ot.ErrOption, "%+v", bad)
	}
}

// Pure Go compiles the many shapes of the suite at once.
func TestSinkhornConformance(t *testing.T) {
	t.Setenv(compute.ConfigEnvVar, "go")
	d := openDevice(t)
	ottest.TestSolver(t, d.Sinkhorn(ot.Sinkhorn{}), ot.DefaultTol)
	ottest.TestSolver(t, d.Sinkhorn(ot.Sinkhorn{Reg: 1e-3, MaxIter: 3}), ot.DefaultTol)
}
