package gomlx

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

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
			require.LessOrEqual(t, apart(t, flatten(want), flatten(got)), 1e-6*unit, "reg %g", reg)
		}
	}
}

func flatten(p ot.Plan) []float64 { return mat.DenseCopyOf(p.Mass()).RawMatrix().Data }

// A float32 cost stays where it is, and so does the plan.
func TestSinkhornOnDevice(t *testing.T) {
	d := openDevice(t)
	const n, m = 70, 45
	cost := distances(t, n, m)
	single := make([]float32, n*m)
	for k, v := range cost.RawMatrix().Data {
		single[k] = float32(v)
		cost.RawMatrix().Data[k] = float64(single[k])
	}
	device := tensors.FromFlatDataAndDimensions(single, n, m)
	defer device.MustFinalizeAll()
	plan, err := d.Sinkhorn(ot.Sinkhorn{Reg: 0.08}).(sinkhorn).solve(t.Context(), device, nil, nil)
	require.NoError(t, err)
	defer plan.MustFinalizeAll()
	got, err := tensors.CopyFlatData[float64](plan)
	require.NoError(t, err)
	want, err := ot.Sinkhorn{Reg: 0.08}.Solve(t.Context(), ot.Problem{Cost: cost})
	require.NoError(t, err)
	require.LessOrEqual(t, apart(t, flatten(want), got), 1e-6/n)

	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), -1} {
		single[3] = bad
		device := tensors.FromFlatDataAndDimensions(single, n, m)
		_, err := d.Sinkhorn(ot.Sinkhorn{}).(sinkhorn).solve(t.Context(), device, nil, nil)
		require.ErrorIs(t, err, ot.ErrNotFinite, bad)
		device.MustFinalizeAll()
	}
	_, err = d.Sinkhorn(ot.Sinkhorn{}).(sinkhorn).solve(t.Context(), device, make([]float64, n+1), nil)
	require.ErrorIs(t, err, ot.ErrShape)
	_, err = d.Sinkhorn(ot.Sinkhorn{Reg: -1}).(sinkhorn).solve(t.Context(), device, nil, nil)
	require.ErrorIs(t, err, ot.ErrOption)
}

// Pure Go compiles the many shapes of the suite at once.
func TestSinkhornConformance(t *testing.T) {
	t.Setenv(compute.ConfigEnvVar, "go")
	d := openDevice(t)
	ottest.TestSolver(t, d.Sinkhorn(ot.Sinkhorn{}), ot.DefaultTol)
	ottest.TestSolver(t, d.Sinkhorn(ot.Sinkhorn{Reg: 1e-3, MaxIter: 3}), ot.DefaultTol)
}
