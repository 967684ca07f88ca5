package ot_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
	"github.com/otfuse/otfuse/ot/ottest"
)

func TestConformanceResult(t *testing.T) {
	for name, solver := range map[string]ottest.Starter{
		"sinkhorn": func(d *ot.Duals) ot.ResultSolver { return ot.Sinkhorn{Start: d} },
		"sharp":    func(d *ot.Duals) ot.ResultSolver { return ot.Sinkhorn{Reg: 1e-3, MaxIter: 300, Start: d} },
		"unbalanced": func(d *ot.Duals) ot.ResultSolver {
			return ot.Unbalanced{Reg: 0.05, Penalty: 0.5, TargetPenalty: 2, Start: d}
		},
		"counting": func(d *ot.Duals) ot.ResultSolver {
			return ot.Unbalanced{Reg: 0.05, Penalty: 0.5, Prior: ot.PriorCounting{}, Start: d}
		},
		"partial": func(d *ot.Duals) ot.ResultSolver { return ot.PartialSinkhorn{Share: 0.7, Tol: 1e-8, Start: d} },
		"gromov": func(d *ot.Duals) ot.ResultSolver {
			if d == nil {
				return across{ot.EntropicGromovWasserstein{}}
			}
			return across{ot.EntropicGromovWasserstein{Start: &ot.Result{Duals: *d}}}
		},
	} {
		t.Run(name, func(t *testing.T) { ottest.TestResult(t, solver, ot.DefaultMaxIter, 1e-6) })
	}
}

// across is a solver of problems between sides whose distances within are zero, in units in
// which the gradient of the objective is the cost.
type across struct{ ot.EntropicGromovWasserstein }

func (s across) SolveResult(ctx context.Context, p ot.Problem) (ot.Result, error) {
	if err := p.Validate(); err != nil {
		return ot.Result{}, err
	}
	n, m := p.Cost.Dims()
	var double mat.Dense
	double.Scale(2, p.Cost)
	return s.EntropicGromovWasserstein.SolveResult(ctx, ot.Quadratic{
		X: mat.NewDense(n, n, nil), Y: mat.NewDense(m, m, nil), Cost: &double, A: p.A, B: p.B,
	})
}

func (s across) Solve(ctx context.Context, p ot.Problem) (ot.Plan, error) {
	r, err := s.SolveResult(ctx, p)
	return r.Plan, err
}

func TestConformanceDual(t *testing.T) {
	ottest.TestDual(t, func(d *ot.Duals) ottest.DualSolver { return ot.EMD{Start: d} }, 1e-12)
}

// At the solution of the balanced problem the dual objective is the primal one.
func TestSinkhornDuality(t *testing.T) {
	rng := rand.New(rand.NewPCG(61, 1))
	for _, unit := range []float64{1, 7} { // totals
		p := ot.Problem{Cost: randomCost(rng, 9, 14), A: randomMass(rng, 9), B: randomMass(rng, 14)}
		floats.Scale(unit, p.A)
		floats.Scale(unit, p.B)
		p.A[2] = 0
		scaledTo(p.B, p.A)
		for _, reg := range []float64{1, 0.1, 0.01} {
			r, err := ot.Sinkhorn{Reg: reg, Tol: 1e-12, MaxIter: 100000}.SolveResult(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, reg, r.Reg)
			require.InDelta(t, r.Plan.Cost(p.Cost), r.Objective, 1e-12*unit)
			dual := -reg * mat.Sum(r.Plan.Mass())
			for i, u := range r.Duals.U {
				if p.A[i] > 0 {
					dual += p.A[i] * u
				} else {
					require.True(t, math.IsInf(u, -1))
				}
			}
			dual += floats.Dot(p.B, r.Duals.V)
			require.InDelta(t, r.Regularised, dual, 1e-10*unit)
			require.Positive(t, r.Iterations)
			require.LessOrEqual(t, r.Residual, 1e-12)
		}
	}
}

// Objectives of unbalanced plans, also with unequal penalties, are those of the
// formula, and no nearby plan has a smaller one.
func TestUnbalancedObjectives(t *testing.T) {
	rng := rand.New(rand.NewPCG(62, 1))
	p := ot.Problem{Cost: randomCost(rng, 6, 8), A: randomMass(rng, 6), B: randomMass(rng, 8)}
	p.A[1], p.B[2] = 0, 0.7
	for _, prior := range []ot.Prior{ot.PriorProduct{}, ot.PriorCounting{}} {
		s := ot.Unbalanced{Reg: 0.05, Penalty: 0.3, TargetPenalty: 1.2, Prior: prior, MaxIter: 100000}
		r, err := s.SolveResult(t.Context(), p)
		require.NoError(t, err)
		require.InDelta(t, unbalancedCost(s, p, r.Plan.Mass()), r.Regularised, 1e-12)
		free := s
		free.Reg = 0
		require.InDelta(t, unbalancedCost(free, p, r.Plan.Mass()), r.Objective, 1e-12)
		for range 20 {
			near := mat.DenseCopyOf(r.Plan.Mass())
			near.Apply(func(_, _ int, v float64) float64 { return v * math.Exp(0.01*rng.NormFloat64()) }, near)
			require.GreaterOrEqual(t, unbalancedCost(s, p, near), r.Regularised-1e-12)
		}
		equal := ot.Unbalanced{Reg: 0.05, Penalty: 0.3, Prior: prior}
		same := ot.Unbalanced{Reg: 0.05, Penalty: 0.3, TargetPenalty: 0.3, Prior: prior}
		require.True(t, mat.Equal(mustSolve(t, equal, p).Mass(), mustSolve(t, same, p).Mass()))
		heavy := mustSolve(t, ot.Unbalanced{Reg: 0.05, Penalty: 1e3, TargetPenalty: 0.1, Prior: prior}, p)
		for i, a := range p.A {
			require.InDelta(t, a, mat.Sum(mat.NewVecDense(8, mat.Row(nil, i, heavy.Mass()))), 1e-3)
		}
	}
	_, err := ot.Unbalanced{TargetPenalty: -1}.Solve(t.Context(), p)
	require.EqualError(t, err, "ot: TargetPenalty: option out of range: -1")
}

func TestEntropicGromovResult(t *testing.T) {
	rng := rand.New(rand.NewPCG(63, 1))
	q := ot.Quadratic{X: randomCost(rng, 5, 5), Y: randomCost(rng, 7, 7), Cost: randomCost(rng, 5, 7)}
	s := ot.EntropicGromovWasserstein{Alpha: 0.7, Reg: 0.1}
	r, err := s.SolveResult(t.Context(), q)
	require.NoError(t, err)
	plan, objective, err := s.Solve(t.Context(), q)
	require.NoError(t, err)
	require.True(t, mat.Equal(plan.Mass(), r.Plan.Mass()))
	require.Equal(t, objective, r.Objective)
	require.InDelta(t, fused(q, 0.7, r.Plan.Mass()), r.Objective, 1e-9)
	// Σ P (log P − 1) is less the entropy and less the mass.
	require.InDelta(t, r.Objective-0.1*(r.Plan.Entropy()+1), r.Regularised, 1e-9)
	require.Len(t, r.Duals.U, 5)
	require.Len(t, r.Duals.V, 7)
	require.LessOrEqual(t, r.Residual, ot.DefaultTol)
	// The potentials give the plan.
	p := r.Plan.Mass()
	for i, u := range r.Duals.U {
		for j, v := range r.Duals.V {
			grad := 0.3 * q.Cost.At(i, j)
			for k := range 5 {
				for l := range 7 {
					both := q.X.At(i, k)*q.Y.At(j, l) + q.X.At(k, i)*q.Y.At(l, j)
					grad -= 2 * 0.7 * both * p.At(k, l)
				}
			}
			require.InEpsilon(t, math.Exp((u+v-grad)/0.1), p.At(i, j), 1e-6)
		}
	}
	// A result starts where it ended, and the start decides nothing else.
	warm := s
	warm.Start = &r
	again, err := warm.SolveResult(t.Context(), q)
	require.NoError(t, err)
	require.LessOrEqual(t, again.Iterations, 2)
	require.Less(t, again.Iterations, r.Iterations)
	near(t, r.Plan.Mass(), again.Plan.Mass(), 1e-8)
	warm.Start = &ot.Result{Plan: r.Plan}
	again, err = warm.SolveResult(t.Context(), q)
	require.NoError(t, err)
	near(t, r.Plan.Mass(), again.Plan.Mass(), 1e-8)
	for _, start := range []ot.Result{
		{Plan: mustSolve(t, ot.EMD{}, ot.Problem{Cost: randomCost(rng, 5, 6)})},
		{Duals: ot.Duals{V: make([]float64, 5)}},
	} {
		warm.Start = &start
		_, err = warm.SolveResult(t.Context(), q)
		require.ErrorIs(t, err, ot.ErrShape)
	}
	s.MaxIter = 1
	r, err = s.SolveResult(t.Context(), q)
	var late *ot.NotConvergedError
	require.ErrorAs(t, err, &late)
	require.Equal(t, late.Iterations, r.Iterations)
	require.False(t, r.Plan.IsIdentity())
}

// As many iterations as allowed, at any ε, and never more.
func TestMaxIter(t *testing.T) {
	rng := rand.New(rand.NewPCG(64, 1))
	p := ot.Problem{Cost: randomCost(rng, 20, 30), A: randomMass(rng, 20), B: randomMass(rng, 30)}
	for _, limit := range []int{1, 2, 3, 5, 10, 50} {
		for _, reg := range []float64{0.1, 1e-3, 1e-6} {
			for _, s := range []ot.ResultSolver{
				ot.Sinkhorn{Reg: reg, MaxIter: limit, Tol: 1e-15},
				ot.Sinkhorn{Reg: reg, MaxIter: limit, Tol: 1e-15, Start: &ot.Duals{V: make([]float64, 30)}},
				ot.Unbalanced{Reg: reg, MaxIter: limit, Tol: 1e-15},
				ot.PartialSinkhorn{Share: 0.5, Reg: reg, MaxIter: limit, Tol: 1e-15},
			} {
				r, err := s.SolveResult(t.Context(), p)
				require.LessOrEqual(t, r.Iterations, limit, "%#v", s)
				off(t, r.Plan)
				if err == nil {
					continue
				}
				var late *ot.NotConvergedError
				require.ErrorAs(t, err, &late, "%#v", s)
				require.Equal(t, limit, late.Iterations, "%#v", s)
			}
		}
	}
}

// The defaults of ε and ρ follow the unit of the cost.
func TestDefaultsFollowTheCost(t *testing.T) {
	rng := rand.New(rand.NewPCG(65, 1))
	c := randomCost(rng, 8, 6)
	for _, s := range []ot.ResultSolver{ot.Sinkhorn{}, ot.Unbalanced{}, ot.PartialSinkhorn{Share: 0.8}} {
		want, err := s.SolveResult(t.Context(), ot.Problem{Cost: c})
		require.NoError(t, err)
		require.InEpsilon(t, want.Reg, ot.DefaultReg*mat.Max(c), 1e-15)
		for _, unit := range []float64{1e-300, 1e-4, 1e300} {
			var scaled mat.Dense
			scaled.Scale(unit, c)
			got, err := s.SolveResult(t.Context(), ot.Problem{Cost: &scaled})
			require.NoError(t, err)
			if unit > 1e-300 { // where ε ends
				near(t, want.Plan.Mass(), got.Plan.Mass(), 1e-8)
			}
		}
	}
	free := mat.NewDense(2, 3, nil)
	for _, s := range []ot.ResultSolver{ot.Sinkhorn{}, ot.Unbalanced{}, ot.PartialSinkhorn{}} {
		plan := mustSolve(t, s, ot.Problem{Cost: free})
		require.InDelta(t, 1, mat.Sum(plan.Mass()), 1e-9)
	}
}

// Starts that are no potentials are told, and any numbers may start.
func TestSinkhornStart(t *testing.T) {
	rng := rand.New(rand.NewPCG(66, 1))
	p := ot.Problem{Cost: randomCost(rng, 7, 5), B: randomMass(rng, 5)}
	want := mustSolve(t, ot.Sinkhorn{Reg: 0.05}, p)
	for _, size := range []float64{1, 1e3, 1e16, 1e280} {
		start := ot.Duals{U: make([]float64, 7), V: make([]float64, 5)}
		for j := range start.V {
			start.V[j] = size * rng.NormFloat64()
		}
		near(t, want.Mass(), mustSolve(t, ot.Sinkhorn{Reg: 0.05, Start: &start}, p).Mass(), 1e-8)
	}
	for _, s := range []ot.Solver{
		ot.Sinkhorn{Start: &ot.Duals{}}, ot.Unbalanced{Start: &ot.Duals{}}, ot.PartialSinkhorn{Start: &ot.Duals{}},
		ot.PartialSinkhorn{Start: &ot.Duals{V: make([]float64, 5)}},
	} {
		_, err := s.Solve(t.Context(), p)
		require.ErrorIs(t, err, ot.ErrShape)
	}
	bad := ot.Duals{U: make([]float64, 7), V: []float64{0, 0, math.NaN(), 0, 0}}
	for _, s := range []ot.Solver{ot.Sinkhorn{Start: &bad}, ot.Unbalanced{Start: &bad}, ot.PartialSinkhorn{Start: &bad}} {
		_, err := s.Solve(t.Context(), p)
		require.EqualError(t, err, "ot: Start[2] = NaN: not a finite number")
	}
}
