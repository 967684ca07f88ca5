package fuse

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// collect gathers what activations say about every space of the source and
// another model [n × m]; nil where they are not looked at.
func (m *matcher) collect(ctx context.Context, c Calibration, other *models.Model) ([]*mat.Dense, error) {
	out := make([]*mat.Dense, len(m.spaces))
	if m.Mix == 0 {
		return out, nil
	}
	if c == nil {
		return nil, fmt.Errorf("matching on activations: %w", ErrNoCalibration)
	}
	var want align.Want
	var space []int
	for _, n := range other.Graph.Nodes {
		if k := m.of[n.ID]; k >= 0 && telling(m.spaces[k], n) {
			want.Sites, space = append(want.Sites, []*graph.Node{n}), append(space, k)
		}
	}
	stats, err := c.Collect(ctx, m.src, other, want)
	if err != nil {
		return nil, err
	}
	if len(stats.Moments) != len(space) {
		return nil, fmt.Errorf("the calibration returned %d moments for %d sites", len(stats.Moments), len(space))
	}
	counts := make([]float64, len(m.spaces))
	for i, k := range space {
		part := agreement(stats.Moments[i], m.spaces[k].Group)
		if counts[k]++; out[k] == nil {
			out[k] = part
			continue
		}
		out[k].Add(out[k], part)
	}
	for k, c := range counts {
		if c > 0 {
			out[k].Scale(1/c, out[k])
		}
	}
	return out, nil
}

// telling reports whether the activations of n tell how the units of its space
// lie: the normalised stream, queries, keys, values and what attention makes
// of them, and units after their activation function.
func telling(s graph.Space, n *graph.Node) bool {
	switch s.Group {
	case graph.Orthogonal:
		return n.Op == graph.Norm
	case graph.Headwise:
		return n.Op == graph.Linear || n.Op == graph.Attend
	}
	return n.Op == graph.Act || n.Op == graph.Norm
}

// agreement scales cross moments so that a perfect match is worth 1:
// covariances over the whole where units may turn, correlations of single units
// where they may not.
func agreement(m *align.Moments, g graph.Group) *mat.Dense {
	n, c := m.Cross.Dims()
	out := mat.NewDense(n, c, nil)
	var x, y float64
	for _, v := range m.VarX {
		x += v
	}
	for _, v := range m.VarY {
		y += v
	}
	for i := range n {
		for j, row := 0, out.RawRowView(i); j < c; j++ {
			s := math.Sqrt(x * y)
			if g == graph.Permutation {
				s = math.Sqrt(m.VarX[i]*m.VarY[j]) * float64(min(n, c))
			}
			if s > 0 {
				row[j] = m.Cross.At(i, j) / s
			}
		}
	}
	return out
}
