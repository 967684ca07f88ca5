package fuse

import (
	"cmp"
	"context"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/models"
)

// unequal reports whether a source has other widths than the anchor.
func (u *multiMatcher) unequal() bool {
	return slices.ContainsFunc(u.sources, func(m *matcher) bool {
		for k, s := range m.spaces {
			if s.Units != m.anchorSpaces[k].Units {
				return true
			}
		}
		return false
	})
}

// selectUnits begins the search of a lent anchor for the maps S that keep the most of the
// sources, Σ ‖S(W_source)‖². Matched with what it has become, a source never keeps less, since
// ⟨S(W), T(W)⟩ ≤ ‖S(W)‖ ‖T(W)‖. But units that were not taken have no part in that: where
// units may only be permuted, those of the largest weights are taken first.
func (u *multiMatcher) selectUnits(ctx context.Context) error {
	for _, m := range u.sources {
		for k, s := range m.spaces {
			c := m.anchorSpaces[k].Units
			if !s.Group.Permutes() || c >= s.Units {
				continue
			}
			kept, err := interruptible.Value(ctx, func() ([]float64, error) { return m.unitWeights(k) })
			if err != nil {
				return err
			}
			m.maps[k] = newUnitMap(largest(kept, c))
		}
	}
	return nil
}

// largest maps to c units [n × c] from the n that have the largest values, in their order.
func largest(values []float64, c int) *mat.Dense {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	taken := order[:c]
	slices.Sort(taken)
	out := mat.NewDense(len(values), c, nil)
	for j, i := range taken {
		out.Set(i, j, 1)
	}
	return out
}

// unitWeights returns the squares of the weights by which each unit of space k reads and is
// read, in the basis of the anchor and relative to those of their layers.
func (m *matcher) unitWeights(k int) ([]float64, error) {
	out := make([]float64, m.spaces[k].Units)
	for i, n := range m.src.Graph.Nodes {
		for _, p := range n.Params {
			axis := m.axisIn(n, p, k)
			if axis < 0 || !m.mapsKnown(n, p, axis) {
				continue
			}
			w, err := readPart(m.src, p)
			if err != nil {
				return nil, err
			}
			values := carry(m, n, p, w, axis).withAxisFirst(axis)
			each := len(values) / len(out)
			for unit := range out {
				out[unit] += m.scale[i] * m.scale[i] * sumOfSquares(values[unit*each:(unit+1)*each])
			}
		}
	}
	return out, nil
}

// clearModel sets all parameters and moments to 0.
func clearModel(m *models.Model, moments []*mat.Dense) {
	for _, t := range m.Params {
		clear(t.Data)
	}
	for _, s := range moments {
		if s != nil {
			s.Zero()
		}
	}
}
