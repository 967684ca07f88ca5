package fuse

import (
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// report reports on every node after matching.
func (m *matcher) report(moved *models.Model) []NodeReport {
	var out []NodeReport
	for i, n := range m.src.Graph.Nodes {
		r := NodeReport{Name: n.Name, Flow: n.Flow(), Tied: n.Tie != nil, Diagonal: 1}
		if len(n.Params) > 0 {
			r.Cost = mismatch(moved, m.anchor, i)
			r.weights = squares{nodeSquares(n, m.src.Params), nodeSquares(m.anchor.Graph.Nodes[i], moved.Params)}
		}
		if k := m.of[i]; k >= 0 && m.maps[k] != nil {
			s := m.mapAlong(n, graph.Out)
			r.Diagonal = diagonalShare(s)
			r.push = func() *mat.Dense { return mat.DenseCopyOf(s) }
		}
		out = append(out, r)
	}
	return out
}

// nodeSquares is ‖W‖² of all parameters of n.
func nodeSquares(n *graph.Node, params models.Params) (sum float64) {
	for _, p := range n.Params {
		sum += sumOfSquares(fetchPart(params, p).data)
	}
	return sum
}

// mismatch is ‖W − W_anchor‖² / (‖W‖² + ‖W_anchor‖²) of a node: 0 where both
// are the same, 1 where they have nothing in common.
func mismatch(m, anchor *models.Model, id int) float64 {
	var apart, sum float64
	for _, p := range anchor.Graph.Nodes[id].Params {
		x, y := fetchPart(m.Params, p).data, fetchPart(anchor.Params, p).data
		sum += sumOfSquares(x) + sumOfSquares(y)
		for i := range x {
			d := float64(x[i]) - float64(y[i])
			apart += d * d
		}
	}
	if sum == 0 {
		return 0
	}
	return apart / sum
}

// diagonalShare is the share of the squares of s on its diagonal.
func diagonalShare(s *mat.Dense) float64 {
	var on, all float64
	n, _ := s.Dims()
	for i := range n {
		for j, v := range s.RawRowView(i) {
			all += v * v
			if i == j {
				on += v * v
			}
		}
	}
	return on / all
}
