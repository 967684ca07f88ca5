package fuse

import (
	"math"

	"github.com/otfuse/otfuse/models"
)

// inverseNorms returns 1 / ‖W‖ of every node, or 0.
func inverseNorms(m *models.Model) ([]float64, error) {
	out := make([]float64, len(m.Graph.Nodes))
	for i, n := range m.Graph.Nodes {
		var sum float64
		for _, p := range n.Params {
			w, err := readPart(m, p)
			if err != nil {
				return nil, err
			}
			sum += sumOfSquares(w.data)
		}
		if sum > 0 {
			out[i] = 1 / math.Sqrt(sum)
		}
	}
	return out, nil
}

// unitNorm returns m with the parameters of every node over their norm.
func unitNorm(m *models.Model) (*models.Model, error) {
	scale, err := inverseNorms(m)
	if err != nil {
		return nil, err
	}
	parts := partsByName(m.Graph)
	return heldAs(m, m.Computed(func(name string) (models.Tensor, error) {
		t, err := m.Tensor(name)
		if err != nil {
			return t, err
		}
		out := models.Params{}
		for _, part := range parts[name] {
			p := m.Graph.Nodes[part.node].Params[part.at]
			w := cutPart(t, p)
			unit, c := tensor{w.shape, make([]float32, len(w.data))}, float32(scale[part.node])
			for i, v := range w.data {
				unit.data[i] = c * v
			}
			storePart(out, p, unit, "")
		}
		return out[name], nil
	}))
}

// heldAs returns a computed model, in memory where another one is.
func heldAs(m, computed *models.Model) (*models.Model, error) {
	if m.Params == nil {
		return computed, nil
	}
	return computed.Load()
}
