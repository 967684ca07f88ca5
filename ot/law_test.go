package ot_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

func randomCost(rng *rand.Rand, n, m int) *mat.Dense {
	x, y := mat.NewDense(n, 3, nil), mat.NewDense(m, 3, nil)
	for _, d := range []*mat.Dense{x, y} {
		d.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, d)
	}
	c, err := ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}.Cost(ot.NewGram(x, y))
	if err != nil {
		panic(err)
	}
	return c
}

func randomMass(rng *rand.Rand, n int) []float64 {
	w := make([]float64, n)
	var s float64
	for i := range w {
		w[i] = rng.ExpFloat64()
		s += w[i]
	}
	for i := range w {
		w[i] /= s
	}
	return w
}

// certify checks that a plan is optimal and exact for its problem.
func certify(t *testing.T, p ot.Problem) ot.Plan {
	t.Helper()
	plan, duals, err := ot.EMD{}.SolveDual(context.Background(), p)
	require.NoError(t, err)
	c, err := ot.Certify(p, plan, duals)
	require.NoError(t, err)
	top := mat.Max(p.Cost)
	mass := 1.0
	if p.A != nil {
		mass = 0
		for _, v := range p.A {
			mass += v
		}
	}
	require.InDelta(t, 0, c.Violation/mass, 1e-12)
	require.InDelta(t, 0, c.Infeasible, 1e-12*top)
	require.InDelta(t, 0, c.Gap, 1e-12*top*mass)
	return plan
}

// least returns the cost of the cheapest permutation.
func least(c mat.Matrix, j int, used []bool) float64 {
	n, _ := c.Dims()
	if j == n {
		return 0
	}
	best := math.Inf(1)
	for i := range n {
		if !used[i] {
			used[i] = true
			best = min(best, c.At(i, j)+least(c, j+1, used))
			used[i] = false
		}
	}
	return best
}

func TestEMDBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for n := 1; n <= 7; n++ {
		for range 5 {
			c := randomCost(rng, n, n)
			plan := certify(t, ot.Problem{Cost: c})
			require.InDelta(t, least(c, 0, make([]bool, n))/float64(n), plan.Cost(c), 1e-12)
			_, ok := plan.Permutation()
			require.True(t, ok)
		}
	}
}

// A unit of mass k is the same as k copies of mass 1, so that permutations of the copies
// are a brute-force solution for unequal masses.
func TestEMDBruteForceMasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	a, b := []float64{1, 3, 2, 1}, []float64{2, 0, 4, 1}
	for range 10 {
		c := randomCost(rng, 4, 4)
		var copies []float64
		for i, w := range a {
			for range int(w) {
				for j, v := range b {
					for range int(v) {
						copies = append(copies, c.At(i, j))
					}
				}
			}
		}
		plan := certify(t, ot.Problem{Cost: c, A: a, B: b})
		require.InDelta(t, least(mat.NewDense(7, 7, copies), 0, make([]bool, 7)), plan.Cost(c), 1e-12)
	}
}

func TestEMDCertified(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for _, d := range [][2]int{{1, 1}, {1, 9}, {9, 1}, {40, 40}, {64, 48}, {30, 90}, {200, 200}, {300, 5}} {
		n, m := d[0], d[1]
		ties := mat.NewDense(n, m, nil)
		ties.Apply(func(int, int, float64) float64 { return float64(rng.IntN(3)) }, ties)
		for _, c := range []*mat.Dense{randomCost(rng, n, m), ties, mat.NewDense(n, m, nil)} {
			certify(t, ot.Problem{Cost: c})
			certify(t, ot.Problem{Cost: c, A: randomMass(rng, n), B: randomMass(rng, m)})
		}
	}
}

func TestSinkhornTendsToEMD(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	p := ot.Problem{Cost: randomCost(rng, 12, 9), A: randomMass(rng, 12), B: randomMass(rng, 9)}
	exact := certify(t, p)
	last := math.Inf(1)
	for _, reg := range []float64{1, 0.1, 0.01, 1e-3, 1e-4} {
		plan, err := ot.Sinkhorn{Reg: reg, MaxIter: 200000}.Solve(context.Background(), p)
		require.NoError(t, err)
		gap := plan.Cost(p.Cost) - exact.Cost(p.Cost)
		require.GreaterOrEqual(t, gap, -1e-9)
		require.Less(t, gap, last)
		// The entropy of a plan is at most that of the independent one.
		require.LessOrEqual(t, gap, reg*math.Log(12*9)+1e-9)
		last = gap
	}
	require.Less(t, last, 1e-4)
}

// A plan is optimal for the regularised problem if and only if it is a scaled kernel, so
// that every 2 × 2 minor of log P + C/ε is balanced.
func TestSinkhornOptimality(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for _, reg := range []float64{1, 0.08, 0.02} {
		c := randomCost(rng, 20, 30)
		p := mustSolve(t, ot.Sinkhorn{Reg: reg}, ot.Problem{Cost: c, B: randomMass(rng, 30)}).Mass()
		l := func(i, j int) float64 { return reg*math.Log(p.At(i, j)) + c.At(i, j) }
		for i := 1; i < 20; i++ {
			for j := 1; j < 30; j++ {
				require.InDelta(t, 0, l(i, j)-l(0, j)-l(i, 0)+l(0, 0), 1e-10)
			}
		}
	}
}

func mustSolve(t *testing.T, s ot.Solver, p ot.Problem) ot.Plan {
	t.Helper()
	plan, err := s.Solve(context.Background(), p)
	require.NoError(t, err)
	return plan
}

// A layer of n units is aligned with a copy of itself in which every unit occurs two or
// three times. Moving its outputs by Push and the inputs of the next layer by Pull keeps
// the function.
func TestWideningByDuplication(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	const n, in, out = 5, 4, 3
	normal := func(r, c int) *mat.Dense {
		d := mat.NewDense(r, c, nil)
		d.Apply(func(int, int, float64) float64 { return rng.NormFloat64() }, d)
		return d
	}
	w1, w2, x := normal(n, in), normal(out, n), normal(in, 7)
	f := func(w1, w2 mat.Matrix) *mat.Dense {
		var h, y mat.Dense
		h.Mul(w1, x)
		h.Apply(func(_, _ int, v float64) float64 { return max(v, 0) }, &h)
		y.Mul(w2, &h)
		return &y
	}
	for _, times := range []int{2, 3} {
		wide := mat.NewDense(n*times, in, nil)
		for j, k := range rng.Perm(n * times) {
			wide.SetRow(j, w1.RawRowView(k%n))
		}
		cost, err := ot.Euclidean{}.Cost(ot.NewGram(w1, wide))
		require.NoError(t, err)
		for _, s := range []ot.Solver{ot.EMD{}, ot.Sinkhorn{Reg: 1e-3}} {
			plan := mustSolve(t, s, ot.Problem{Cost: cost})
			var v1, v2 mat.Dense
			v1.Mul(plan.Push().T(), w1)
			v2.Mul(w2, plan.Pull())
			near(t, wide, &v1, 1e-8)
			near(t, f(w1, w2), f(&v1, &v2), 1e-7)
		}
	}
}

// Every solver notices the end of a context wherever it is in its work.
func TestStops(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	c := mat.NewDense(1500, 1400, nil)
	c.Apply(func(int, int, float64) float64 { return rng.Float64() }, c)
	square := c.Slice(0, 1400, 0, 1400)
	for name, p := range map[string]ot.Problem{"assignment": {Cost: square}, "simplex": {Cost: c}} {
		ctx := &countdown{Context: context.Background(), left: 2}
		_, err := ot.EMD{}.Solve(ctx, p)
		require.ErrorIs(t, err, context.Canceled, name)
	}
	ctx := &countdown{Context: context.Background(), left: 40}
	_, err := ot.Sinkhorn{}.Solve(ctx, ot.Problem{Cost: square})
	require.ErrorIs(t, err, context.Canceled)

	few, w := c.Slice(0, 300, 0, 300), randomMass(rng, 300)
	q := ot.Quadratic{X: few, Y: few, Cost: few}
	within := mat.NewDense(300, 300, nil)
	within.Add(few, few.T())
	symmetric := ot.Quadratic{X: within, Y: within, Cost: few}
	for name, solve := range map[string]func(context.Context) error{
		"unbalanced": func(ctx context.Context) error { return failure(ot.Unbalanced{}.Solve(ctx, ot.Problem{Cost: few})) },
		"partial": func(ctx context.Context) error {
			return failure(ot.Partial{Share: 0.5}.Solve(ctx, ot.Problem{Cost: few}))
		},
		"partial sinkhorn": func(ctx context.Context) error {
			return failure(ot.PartialSinkhorn{Share: 0.5, Reg: 0.01}.Solve(ctx, ot.Problem{Cost: few}))
		},
		"barycenter": func(ctx context.Context) error {
			return failure(ot.Barycenter{Reg: 0.01}.Solve(ctx, few, [][]float64{w, nil}, nil))
		},
		"gromov": func(ctx context.Context) error {
			_, _, err := ot.GromovWasserstein{}.Solve(ctx, q)
			return err
		},
		"entropic gromov": func(ctx context.Context) error {
			return failure(ot.EntropicGromovWasserstein{}.SolveResult(ctx, q))
		},
		"divergence": func(ctx context.Context) error { return failure(ot.Sinkhorn{}.Divergence(ctx, symmetric)) },
	} {
		for _, left := range []int{1, 3, 8, 15} {
			ctx := &countdown{Context: context.Background(), left: left}
			require.ErrorIs(t, solve(ctx), context.Canceled, "%s, %d", name, left)
		}
	}
}

func failure[T any](_ T, err error) error { return err }

// countdown is a context that ends after its error was asked for left times.
type countdown struct {
	context.Context

	mu   sync.Mutex
	left int
}

func (c *countdown) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}
