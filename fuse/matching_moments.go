package fuse

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// collect returns what activations say about every space of the source and
// another model [n × m]; nil where they are not looked at.
func (m *matcher) collect(ctx context.Context, c Calibration, other *models.Model) ([]*mat.Dense, error) {
	out := make([]*mat.Dense, len(m.spaces))
	if m.how.Mix == 0 {
		return out, nil
	}
	if c == nil {
		return nil, fmt.Errorf("matching on activations: %w", ErrNoCalibration)
	}
	var want align.Request
	var space []int
	for _, n := range other.Graph.Nodes {
		if k := m.of[n.ID]; k >= 0 && informative(m.spaces[k], n) {
			want.Sites, space = append(want.Sites, []*graph.Node{n}), append(space, k)
		}
	}
	counts := make([]float64, len(m.spaces))
	for groups := (&collector{c, m.src, other, want, m.momentBytes}); len(groups.want.Sites) > 0; {
		group, stats, err := groups.next(ctx)
		if err != nil {
			return nil, err
		}
		for i, k := range space[:len(group.Sites)] {
			part := normalisedCross(stats.Moments[i], m.spaces[k].Group)
			if c := m.spaces[k].Copies(m.src.Graph.Nodes[group.Sites[i][0].ID]); c > 1 {
				part = m.headBlocks(k).ofSharing(part, c)
			}
			if counts[k]++; out[k] == nil {
				out[k] = part
				continue
			}
			out[k].Add(out[k], part)
		}
		space = space[len(group.Sites):]
	}
	for k, c := range counts {
		if c > 0 {
			out[k].Scale(1/c, out[k])
		}
	}
	return out, nil
}

// informative reports whether activations at n are used to match its space: the
// normalised residual stream; queries, keys, values and the output of attention;
// hidden units after their activation function, or after the product with their gate.
func informative(s graph.Space, n *graph.Node) bool {
	switch {
	case s.Group.Rotates():
		return n.Op == graph.Norm
	case s.Group.WithinHeads():
		return n.Op == graph.Linear || n.Op == graph.Attend
	case s.Group == graph.SignedPermutation: // a gate alone would not tell the sign
		return n.Op == graph.Mul || n.Op == graph.Norm || n.Op == graph.Act && s.TakesSigns(n, graph.Out)
	}
	return n.Op == graph.Act || n.Op == graph.Norm
}

// normalisedCross scales cross moments so that a perfect match is worth 1: raw ones by
// the squares of all units where units may be mixed, since a mean of models is as
// right as ‖xS − y‖² is small, means included; correlations where units may only be
// permuted.
func normalisedCross(m *align.Moments, g graph.Group) *mat.Dense {
	if g.Permutes() {
		return correlations(m)
	}
	out := mat.DenseCopyOf(m.Cross)
	out.RankOne(out, m.N, mat.NewVecDense(len(m.MeanX), m.MeanX), mat.NewVecDense(len(m.MeanY), m.MeanY))
	x := floats.Sum(m.ScatterX) + m.N*floats.Dot(m.MeanX, m.MeanX)
	y := floats.Sum(m.ScatterY) + m.N*floats.Dot(m.MeanY, m.MeanY)
	if x*y > 0 {
		out.Scale(1/math.Sqrt(x*y), out)
	}
	return out
}

// correlations of units, over the number of pairs.
func correlations(m *align.Moments) *mat.Dense {
	n, c := m.Cross.Dims()
	out := mat.NewDense(n, c, nil)
	for i := range n {
		for j, row := 0, out.RawRowView(i); j < c; j++ {
			if s := math.Sqrt(m.ScatterX[i]*m.ScatterY[j]) * float64(min(n, c)); s > 0 {
				row[j] = m.Cross.At(i, j) / s
			}
		}
	}
	return out
}
