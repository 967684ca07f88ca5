package ot_test

import (
	"context"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

var sweep = flag.Int("sweep", 0, "random problems, at least, in each of the tests named Wild")

// wild draws masses over 12 orders of magnitude, some of them zero.
func wild(rng *rand.Rand, n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		if i > 0 && rng.IntN(6) == 0 {
			continue
		}
		w[i] = math.Pow(10, -12*rng.Float64())
	}
	return w
}

// scaledTo gives w the total of v.
func scaledTo(w, v []float64) {
	var sw, sv float64
	for _, x := range w {
		sw += x
	}
	for _, x := range v {
		sv += x
	}
	for i := range w {
		w[i] *= sv / sw
	}
}

func wildProblem(rng *rand.Rand) ot.Problem {
	shapes := [][2]int{{1, 1}, {2, 3}, {7, 7}, {30, 20}, {5, 60}, {300, 5}, {64, 64}}
	d := shapes[rng.IntN(len(shapes))]
	n, m := d[0], d[1]
	var c *mat.Dense
	switch rng.IntN(4) {
	case 0:
		c = randomCost(rng, n, m)
	case 1: // ties
		c = mat.NewDense(n, m, nil)
		c.Apply(func(int, int, float64) float64 { return float64(rng.IntN(3)) }, c)
	case 2: // costs over many orders of magnitude
		c = mat.NewDense(n, m, nil)
		c.Apply(func(int, int, float64) float64 { return math.Pow(10, -8*rng.Float64()) }, c)
	default:
		c = mat.NewDense(n, m, nil)
		c.Apply(func(int, int, float64) float64 { return rng.Float64() }, c)
	}
	p := ot.Problem{Cost: c}
	if rng.IntN(3) > 0 {
		p.A, p.B = wild(rng, n), wild(rng, m)
		scaledTo(p.B, p.A)
	}
	return p
}

// off returns the larger L1 error of the marginals, relative to the mass, and
// requires entries that are numbers from zero up.
func off(t *testing.T, plan ot.Plan) float64 {
	t.Helper()
	require.False(t, plan.IsIdentity())
	a, b := plan.Marginals()
	cols := make([]float64, len(b))
	var rows, total, errs float64
	for i, w := range a {
		var s float64
		for j := range b {
			v := plan.Mass().At(i, j)
			require.False(t, math.IsNaN(v) || math.IsInf(v, 0) || v < 0)
			s += v
			cols[j] += v
		}
		rows += math.Abs(s - w)
		total += w
	}
	for j, w := range b {
		errs += math.Abs(cols[j] - w)
	}
	return max(rows, errs) / total
}

func TestWildEMD(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 1))
	for range max(150, *sweep) {
		p := wildProblem(rng)
		plan := certify(t, p)
		n, m := plan.Dims()
		var used int
		for i := range n {
			for j := range m {
				if plan.Mass().At(i, j) > 0 {
					used++
				}
			}
		}
		require.Less(t, used, n+m, "a vertex has fewer entries than there are units")
	}
}

// What a light unit receives is right to the rounding of the heavy ones.
func TestEMDKeepsLightUnits(t *testing.T) {
	rng := rand.New(rand.NewPCG(18, 1))
	for range 20 {
		p := ot.Problem{Cost: randomCost(rng, 12, 9), A: wild(rng, 12), B: wild(rng, 9)}
		scaledTo(p.B, p.A)
		push := certify(t, p).Push()
		for j, w := range p.B {
			if w > 0 {
				require.InDelta(t, 1, mat.Sum(push.ColView(j)), 1e-15/w, "mass %g", w)
			}
		}
	}
}

func TestWildSinkhorn(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 1))
	late := 0
	problems := max(120, *sweep)
	for range problems {
		p := wildProblem(rng)
		s := ot.Sinkhorn{Reg: math.Pow(10, -5*rng.Float64()), MaxIter: 300}
		plan, err := s.Solve(context.Background(), p)
		res := off(t, plan)
		var e *ot.NotConvergedError
		switch {
		case errors.As(err, &e):
			late++
			require.InDelta(t, e.Residual, res, 1e-12)
			require.Greater(t, res, ot.DefaultTol)
			require.LessOrEqual(t, e.Iterations, 300)
		default:
			require.NoError(t, err)
			require.LessOrEqual(t, res, ot.DefaultTol*(1+1e-6))
		}
		least, err := ot.EMD{}.Solve(context.Background(), p)
		require.NoError(t, err)
		total := mat.Sum(least.Mass())
		require.GreaterOrEqual(t, plan.Cost(p.Cost), least.Cost(p.Cost)-2*(res+1e-12)*total*mat.Max(p.Cost))
	}
	require.Less(t, late, problems*5/6, "some of the problems are out of reach")
}

func TestWildRelaxed(t *testing.T) {
	rng := rand.New(rand.NewPCG(20, 1))
	for range max(60, *sweep) {
		p := wildProblem(rng)
		reg, share := math.Pow(10, -4*rng.Float64()), rng.Float64()
		for _, s := range []ot.Solver{
			ot.Unbalanced{Reg: reg, Penalty: 1, MaxIter: 200},
			ot.Unbalanced{Reg: reg, Penalty: 1, Prior: ot.PriorCounting{}, MaxIter: 200},
			ot.Partial{Share: share},
			ot.PartialSinkhorn{Share: share, Reg: reg, MaxIter: 50},
		} {
			plan, err := s.Solve(context.Background(), p)
			if err != nil {
				require.ErrorAs(t, err, new(*ot.NotConvergedError))
			}
			off(t, plan)
			require.Positive(t, mat.Sum(plan.Mass()))
		}
	}
}

// Masses of any total, down to what floats hold, and costs of any scale.
func TestScaleOfUnits(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	c, a, b := randomCost(rng, 7, 5), randomMass(rng, 7), randomMass(rng, 5)
	want := mustSolve(t, ot.EMD{}, ot.Problem{Cost: c, A: a, B: b}).Push()
	soft := mustSolve(t, ot.Sinkhorn{Reg: 0.1}, ot.Problem{Cost: c, A: a, B: b}).Push()
	for _, unit := range []float64{1e-280, 1e-20, 1e20, 1e280} {
		var scaled mat.Dense
		scaled.Scale(unit, c)
		near(t, want, mustSolve(t, ot.EMD{}, ot.Problem{Cost: &scaled, A: a, B: b}).Push(), 1e-12)
		near(t, soft, mustSolve(t, ot.Sinkhorn{Reg: 0.1 * unit}, ot.Problem{Cost: &scaled, A: a, B: b}).Push(), 1e-8)
		la, lb := make([]float64, 7), make([]float64, 5)
		for i, v := range a {
			la[i] = v * unit
		}
		for j, v := range b {
			lb[j] = v * unit
		}
		near(t, want, mustSolve(t, ot.EMD{}, ot.Problem{Cost: c, A: la, B: lb}).Push(), 1e-12)
		near(t, soft, mustSolve(t, ot.Sinkhorn{Reg: 0.1}, ot.Problem{Cost: c, A: la, B: lb}).Push(), 1e-8)
	}
}
