package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"

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
}

func (p problem) units() int { n, _ := p.cost.Dims(); return n }

func allProblems(o options) ([]problem, error) {
	var out []problem
	for _, n := range o.sizes {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		p, err := between("gaussian", gaussian(rng, n), gaussian(rng, n))
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(o.parents) == 0 {
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
	n, m := cost.Dims()
	rng := rand.New(rand.NewPCG(uint64(n), 2))
	return problem{name, cost, masses(rng, n), masses(rng, m)}, nil
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
