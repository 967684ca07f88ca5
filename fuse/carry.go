package fuse

import (
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/ot"
)

// A basis says how the axes of parameters move into the basis of the anchor. It
// is all that transport and matching do differently to a parameter.
type basis interface {
	// along returns what carries an axis of the parameters of n, or nil where
	// the axis stays as it is.
	along(n *graph.Node, axis graph.Axis) *mover
}

// carry returns parameter p of n, whose values are w, in another basis along all
// of its axes but one (-1 for none). For a weight that is W̃ = Sᵀ W R, for a bias
// Sᵀ b, whatever the order in which they are stored.
func carry(b basis, n *graph.Node, p graph.Param, w tensor, except int) tensor {
	for k, axis := range p.Axes {
		if k == except || axis == graph.Fixed {
			continue
		}
		if m := b.along(n, axis); m != nil {
			w = w.along(k, *m)
		}
	}
	return w
}

// A mover carries the n entries along an axis to c others: by a matrix, by the entries
// of a matrix that are not 0, or as they are where it is a permutation.
type mover struct {
	n, c int
	rows []float32 // [c × n]: each new entry as a combination of old ones
	few  *unitMap  // instead of rows: [n × c] with few entries
	perm []int     // instead of rows: the old entry that each new one is
}

// pushMover moves Out axes along a plan, pullMover In axes.
func pushMover(p ot.Plan) mover {
	if perm, ok := p.Permutation(); ok {
		return mover{n: len(perm), c: len(perm), perm: perm}
	}
	return byColumns(p.Push())
}

func pullMover(p ot.Plan) mover {
	if perm, ok := p.Permutation(); ok {
		return mover{n: len(perm), c: len(perm), perm: perm}
	}
	return byColumns(p.Pull())
}

// byColumns moves by the columns of m [n × c]. What is 0 is not multiplied where that is
// most of it.
func byColumns(m *mat.Dense) mover { return newUnitMap(m).mover() }

// bySquares moves gains by m [n × c]. A gain g is the diagonal of a map of the
// units; in the basis of m the nearest diagonal to mᵀ diag(g) m is
//
//	hⱼ = Σᵢ mᵢⱼ² gᵢ / Σᵢ mᵢⱼ²
//
// Permutations move gains as they are, signs drop out, and gains of 1 stay 1
// under every orthogonal map. A norm over c units lets √(n/c) times as much
// through as one over n, which the factor makes up for; units that nothing is
// carried to keep a gain of 0.
func bySquares(m *unitMap, factor float64) mover {
	squares := *m
	squares.values = make([]float64, len(m.values))
	for j := range len(m.starts) - 1 {
		from, to := m.starts[j], m.starts[j+1]
		var all float64
		for _, v := range m.values[from:to] {
			all += v * v
		}
		for k, v := range m.values[from:to] {
			squares.values[from+k] = factor * v * v / all
		}
	}
	return squares.mover()
}
