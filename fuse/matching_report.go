package fuse

import (
	"github.com/otfuse/otfuse/models"
)

// report reports on every node after matching.
func (m *matcher) report(moved *models.Model) []NodeReport {
	sums := make([]mismatched, len(m.anchor.Graph.Nodes))
	for i, n := range m.anchor.Graph.Nodes {
		for _, p := range n.Params {
			sums[i].add(fetchPart(moved.Params, p).data, fetchPart(m.anchor.Params, p).data)
		}
	}
	return m.reportNodes(sums)
}

// reportNodes reports on every node whose parameters were compared with the anchor's.
func (m *matcher) reportNodes(sums []mismatched) []NodeReport {
	var out []NodeReport
	for i, n := range m.src.Graph.Nodes {
		r := NodeReport{Name: n.Name, Flow: n.Flow(), Tied: n.Tie != nil, Diagonal: 1}
		if len(n.Params) > 0 {
			r.Cost, r.weights.carried = sums[i].share(), sums[i].moved
			if m.scale[i] > 0 {
				r.weights.own = 1 / (m.scale[i] * m.scale[i])
			}
		}
		if s := m.outputMap(n); s != nil {
			r.Diagonal, r.push = s.diagonalShare(), s.dense
		}
		out = append(out, r)
	}
	return out
}

// mismatched are sums of squares of the parameters of a node, moved, of the anchor and of
// their difference.
type mismatched struct{ moved, anchor, apart float64 }

// add adds the parts of a parameter.
func (s *mismatched) add(moved, anchor []float32) {
	s.moved, s.anchor = s.moved+sumOfSquares(moved), s.anchor+sumOfSquares(anchor)
	for i := range moved {
		d := float64(moved[i]) - float64(anchor[i])
		s.apart += d * d
	}
}

// share is ‖W − W_anchor‖² / (‖W‖² + ‖W_anchor‖²): 0 where both are the same, 1 where they
// have nothing in common.
func (s mismatched) share() float64 {
	if s.moved+s.anchor == 0 {
		return 0
	}
	return s.apart / (s.moved + s.anchor)
}
