package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// problem is a cost with masses, which solvers of equal masses leave aside.
type problem struct {
	name string
	cost *mat.Dense
	a, b []float64

	given mat.Matrix // the cost in the form that our solver gets
	duals ot.Duals   // of a similar problem, for a warm start
}

func (p problem) units() int { n, _ := p.cost.Dims(); return n }

// prepare brings the problem into the form of a solver.
func (p *problem) prepare(ctx context.Context, s *solver) error {
	n, m := p.cost.Dims()
	p.given, p.duals = p.cost, ot.Duals{U: make([]float64, n), V: make([]float64, m)}
	switch s.form {
	case single:
		f := ot.DenseFloat32{N: n, M: m, Data: make([]float32, n*m)}
		for k, c := range p.cost.RawMatrix().Data {
			f.Data[k] = float32(c)
		}
		p.given = f
	case warm:
		rng := rand.New(rand.NewPCG(uint64(n), 3))
		similar := mat.NewDense(n, m, nil)
		similar.Apply(func(_, _ int, c float64) float64 { return c * (1 + 0.01*rng.Float64()) }, p.cost)
		var err error
		if _, p.duals, err = (ot.EMD{}).SolveDual(ctx, ot.Problem{Cost: similar, A: p.a, B: p.b}); err != nil {
			return err
		}
		s.method = ot.EMD{Start: &p.duals}
	}
	return nil
}

// allProblems makes the problems of every size, and those of the hidden units.
func allProblems(o options) ([]problem, error) {
	var out []problem
	for _, n := range o.sizes {
		for _, name := range o.problems {
			p, err := randomProblem(name, n)
			if err != nil {
				return nil, err
			}
			if p.cost != nil {
				out = append(out, p)
			}
		}
	}
	if len(o.parents) == 0 || !slices.Contains(o.problems, "hidden units") {
		return out, nil
	}
	measured, err := hiddenUnits(o.parents)
	if errors.Is(err, fs.ErrNotExist) {
		cli.Notice("no real problems: %s; run in the root of the repository, or name two checkpoints with -parents",
			cli.OneLine(err))
		return out, nil
	}
	return append(out, measured...), err
}

// tieLevels is the number of different costs where there are many ties. Costs over it are
// exact, so that ties stay ties.
const tieLevels = 128

// problemNames lists the kinds of problems.
func problemNames() []string {
	return []string{"gaussian", "uniform", "ties", "rectangular", "hidden units"}
}

// randomProblem makes a problem of n source units, none for hidden units.
func randomProblem(name string, n int) (problem, error) {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	random := func(cost func() float64) (problem, error) {
		c := mat.NewDense(n, n, nil)
		c.Apply(func(_, _ int, _ float64) float64 { return cost() }, c)
		return withMasses(name, c), nil
	}
	switch name {
	case "gaussian":
		return between(name, gaussian(rng, n), gaussian(rng, n))
	case "rectangular":
		return between(name, gaussian(rng, n), gaussian(rng, n+n/2))
	case "uniform":
		return random(rng.Float64)
	case "ties":
		return random(func() float64 { return float64(rng.IntN(tieLevels)) / tieLevels })
	}
	return problem{}, nil
}

// features is the number of features of a unit in the Gaussian problems.
const features = 64

func gaussian(rng *rand.Rand, n int) *mat.Dense {
	x := mat.NewDense(n, features, nil)
	x.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() }, x)
	return x
}

// hiddenUnits makes a problem of the hidden units of each feed-forward layer, whose
// features are their input weights in both models.
func hiddenUnits(dirs []string) ([]problem, error) {
	var ms [2]*models.Model
	for i, d := range dirs {
		m, err := models.Open(d)
		if err != nil {
			return nil, err
		}
		ms[i] = m
	}
	var out []problem
	for layer := range ms[0].Dims().Depth {
		var x [2]*mat.Dense
		for i, m := range ms {
			t, ok := m.Params[fmt.Sprintf("vit.encoder.layer.%d.intermediate.dense.weight", layer)]
			if !ok {
				return nil, fmt.Errorf("ot: -parents: %s is no ViT of Hugging Face", dirs[i])
			}
			x[i] = mat.NewDense(t.Shape[0], t.Shape[1], nil)
			for k, v := range t.Data {
				x[i].Set(k/t.Shape[1], k%t.Shape[1], float64(v))
			}
		}
		p, err := between(fmt.Sprintf("hidden units, layer %d", layer), x[0], x[1])
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// between is the problem of Euclidean costs over their maximum, with masses
// drawn from [½, 1½].
func between(name string, x, y *mat.Dense) (problem, error) {
	cost, err := ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}.Cost(ot.NewGram(x, y))
	if err != nil {
		return problem{}, fmt.Errorf("ot: %s: %w", name, err)
	}
	return withMasses(name, cost), nil
}

func withMasses(name string, cost *mat.Dense) problem {
	n, m := cost.Dims()
	rng := rand.New(rand.NewPCG(uint64(n), 2))
	return problem{name: name, cost: cost, a: masses(rng, n), b: masses(rng, m)}
}

func masses(rng *rand.Rand, n int) []float64 {
	out, sum := make([]float64, n), 0.0
	for i := range out {
		out[i] = 0.5 + rng.Float64()
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}
