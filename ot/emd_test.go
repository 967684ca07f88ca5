package ot_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// proven solves p from the potentials start and checks the certificate of the plan.
func proven(t *testing.T, p ot.Problem, start *ot.Duals) (ot.Plan, ot.Duals) {
	t.Helper()
	plan, duals, err := ot.EMD{Start: start}.SolveDual(context.Background(), p)
	require.NoError(t, err)
	c, err := ot.Certify(p, plan, duals)
	require.NoError(t, err)
	top := mat.Max(p.Cost)
	require.InDelta(t, 0, c.Violation, 1e-12)
	require.InDelta(t, 0, c.Infeasible, 1e-12*top)
	require.InDelta(t, 0, c.Gap, 1e-12*top)
	return plan, duals
}

// Whatever the start, the plan is optimal, and where it is unique the same.
func TestEMDStart(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 1))
	for _, d := range [][2]int{{1, 1}, {5, 5}, {80, 80}, {70, 90}, {1, 6}} {
		n, m := d[0], d[1]
		for _, p := range []ot.Problem{
			{Cost: randomCost(rng, n, m)},
			{Cost: randomCost(rng, n, m), A: randomMass(rng, n), B: randomMass(rng, m)},
		} {
			want, duals := proven(t, p, nil)
			starts := []ot.Duals{duals, {V: make([]float64, m)}, {V: make([]float64, m)}, {V: make([]float64, m)}}
			for j := range m {
				starts[1].V[j] = rng.NormFloat64()
				starts[2].V[j] = 1e280 * rng.NormFloat64()
				starts[3].V[j] = duals.V[j] + 1e6
			}
			for _, s := range starts {
				kept := append([]float64(nil), s.V...)
				got, _ := proven(t, p, &s)
				require.Equal(t, kept, s.V, "a start is read only")
				near(t, want.Mass(), got.Mass(), 1e-12)
			}
		}
	}
}

func TestEMDStartWithoutMass(t *testing.T) {
	rng := rand.New(rand.NewPCG(32, 1))
	p := ot.Problem{Cost: randomCost(rng, 4, 5), A: []float64{0.5, 0, 0.25, 0.25}, B: []float64{0, 0.5, 0.25, 0, 0.25}}
	want, duals := proven(t, p, nil)
	got, _ := proven(t, p, &duals)
	near(t, want.Mass(), got.Mass(), 1e-15)
	for at, v := range []float64{math.NaN(), math.Inf(1)} {
		duals.V[1+at] = v
		_, err := ot.EMD{Start: &duals}.Solve(context.Background(), p)
		require.ErrorIs(t, err, ot.ErrNotFinite)
		duals.V[1+at] = 0
	}
	_, err := ot.EMD{Start: &ot.Duals{V: make([]float64, 4)}}.Solve(context.Background(), p)
	require.ErrorIs(t, err, ot.ErrShape)
}

// Costs of float32 give the same plan as their float64 copies, bit for bit.
func TestDenseFloat32(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 1))
	for _, d := range [][2]int{{1, 1}, {9, 9}, {120, 120}, {30, 50}} {
		n, m := d[0], d[1]
		single := ot.DenseFloat32{N: n, M: m, Data: make([]float32, n*m)}
		for k := range single.Data {
			single.Data[k] = rng.Float32()
		}
		wide := mat.DenseCopyOf(single)
		none := randomMass(rng, n)
		none[0] = 0
		for _, a := range [][]float64{nil, randomMass(rng, n), none} {
			if n == 1 && a != nil {
				continue
			}
			b := a
			if n != m && a != nil {
				b = randomMass(rng, m)
				scaledTo(b, a)
			}
			for _, s := range []ot.Solver{ot.EMD{}, ot.Sinkhorn{}, ot.Partial{Share: 0.5}} {
				want := mustSolve(t, s, ot.Problem{Cost: wide, A: a, B: b})
				got := mustSolve(t, s, ot.Problem{Cost: single, A: a, B: b})
				require.True(t, mat.Equal(want.Mass(), got.Mass()))
			}
		}
		single.Data[n*m-1] = float32(math.NaN())
		require.ErrorIs(t, ot.Problem{Cost: single}.Validate(), ot.ErrNotFinite)
		single.Data[n*m-1] = -1
		require.ErrorIs(t, ot.Problem{Cost: single}.Validate(), ot.ErrNegative)
		single.M++
		require.ErrorIs(t, ot.Problem{Cost: single}.Validate(), ot.ErrShape)
	}
}
