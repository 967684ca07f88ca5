package modeltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Random returns a model whose parameters of every kind are random: weights that
// keep the scale of their inputs, gains about 1, biases about 0. Where gains are
// all 1 and biases all 0, as in a fresh model, a law cannot see that one of them
// was put in the wrong place.
func Random(arch models.Architecture, c models.Config, seed uint64) (*models.Model, error) {
	fresh, err := models.Fresh(arch, c, seed, 1)
	if err != nil {
		return nil, err
	}
	p, rng := fresh.Params, rand.New(rand.NewPCG(seed, 1))
	for n, q := range fresh.Graph.Params() {
		t := p[q.Name]
		scale := 1.0
		if q.Role == graph.RoleWeight {
			inputs := 1
			for _, d := range q.Shape {
				inputs *= d
			}
			scale = 1.5 / math.Sqrt(float64(inputs/n.Units))
		}
		for i := range t.Data {
			switch {
			case q.Role == graph.RoleGain:
				t.Data[i] += float32(0.3 * rng.NormFloat64())
			case q.Role == graph.RoleBias:
				t.Data[i] = float32(0.3 * rng.NormFloat64())
			case q.Slice.Part == 0:
				t.Data[i] *= float32(scale)
			}
		}
	}
	return models.New(arch, c, p)
}

// freeSize is the size of an axis that may have any.
const freeSize = 5

// Batch returns n random samples of what m reads, with labels where it puts out logits. Texts are shorter
// than the longest that m takes, the first token of every sample is attended to
// and others are not, and where every token has a label some do not count.
func Batch(m *models.Model, n int, seed uint64) (models.Batch, error) {
	rng, out := rand.New(rand.NewPCG(seed, 2)), models.Batch{}
	mask := m.Graph.Mask()
	for _, in := range m.Inputs {
		shape := append([]int{n}, in.Shape...)
		for i, d := range shape {
			if d == models.Any {
				shape[i] = freeSize * max(in.Step, 1)
				if in.Longest > 0 {
					shape[i] = max(1, 3*in.Longest/4)
				}
			}
		}
		if in.Like != "" {
			shape = out[in.Like].Shape
		}
		a := draw(rng, in, shape)
		if mask != nil && mask.Name == in.Name {
			tokens := shape[len(shape)-1]
			for i := range a.Ints {
				a.Ints[i] = 0
				if i%tokens < 1+rng.IntN(tokens) {
					a.Ints[i] = 1
				}
			}
		}
		out[in.Name] = a
	}
	if !m.Graph.HasLogits() {
		return out, checked(m, out)
	}
	in := m.Labels()
	shape := []int{n}
	switch {
	case in.Like != "":
		shape = out[in.Like].Shape
	case slices.Contains(in.Shape, models.Any):
		return out, nil // a label for every patch, of which there may be any number
	default:
		shape = append(shape, in.Shape...)
	}
	labels := draw(rng, in, shape)
	for i, v := range labels.Floats {
		if m.ProblemType() == models.MultiLabel {
			labels.Floats[i] = 1
			if v < 0 {
				labels.Floats[i] = 0
			}
		}
	}
	for i := range labels.Ints {
		if len(shape) > 1 && i%3 == 1 {
			labels.Ints[i] = models.Ignore
		}
	}
	out[models.Labels] = labels
	return out, checked(m, out)
}

// checked reports how a batch that was drawn as the inputs are declared does not fit.
func checked(m *models.Model, b models.Batch) error {
	if _, err := m.Complete(b); err != nil {
		return fmt.Errorf("modeltest: a batch drawn as the inputs are declared: %w", err)
	}
	return nil
}

// draw returns an array that is as an input says.
func draw(rng *rand.Rand, in models.Input, shape []int) models.Array {
	size := 1
	for _, d := range shape {
		size *= d
	}
	a := models.Array{Shape: shape}
	for range size {
		if in.IsFloats() {
			a.Floats = append(a.Floats, float32(rng.NormFloat64()))
		} else {
			a.Ints = append(a.Ints, rng.Int32N(int32(in.Below)))
		}
	}
	return a
}
