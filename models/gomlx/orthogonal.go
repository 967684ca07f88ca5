package gomlx

import (
	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/graph"
)

// orthogonalize takes a step of Newton and Schulz, w (3 − wᵀw)/2, from w [1, n, n]
// towards the nearest rotation. At a rotation its derivative removes from a gradient
// what leads away from rotations.
//
// Streams under layer norms take a rotation that keeps (1, …, 1): w is centred first,
// and 1/n is added to every entry after that.
func orthogonalize(group graph.Group, w *gx.Node) *gx.Node {
	if group == graph.Orthogonal || group == graph.SignedPermutation {
		return towardsRotation(w)
	}
	w = gx.Sub(gx.Sub(w, gx.ReduceAndKeep(w, gx.ReduceMean, 1)), gx.ReduceAndKeep(w, gx.ReduceMean, 2))
	w = gx.Add(w, gx.MulScalar(gx.ReduceAndKeep(gx.ReduceAndKeep(w, gx.ReduceMean, 1), gx.ReduceMean, 2), -1))
	return gx.AddScalar(towardsRotation(w), 1/float64(w.Shape().Dim(-1)))
}

// towardsRotation is w (3 − wᵀw)/2.
func towardsRotation(w *gx.Node) *gx.Node {
	gram := gx.Einsum("bki,bkj->bij", w, w)
	return gx.Sub(gx.MulScalar(w, 1.5), gx.MulScalar(gx.Einsum("bik,bkj->bij", w, gram), 0.5))
}

// complexPlanes returns the part of maps w [heads, d, d] that multiplies each of the
// planes of units i and i + planes by a complex number and does not mix them with the
// rest: the maps that rotary positions commute with.
func complexPlanes(w *gx.Node, planes int) *gx.Node {
	d := w.Shape().Dim(1)
	quarter, keep := make([][]float32, d), make([][]float32, d) // a turn by 90°, the entries that stay
	for i := range d {
		quarter[i], keep[i] = make([]float32, d), make([]float32, d)
		if i >= 2*planes {
			quarter[i][i] = 1
			for j := 2 * planes; j < d; j++ {
				keep[i][j] = 1
			}
			continue
		}
		other, sign := i+planes, float32(1)
		if i >= planes {
			other, sign = i-planes, -1
		}
		quarter[i][other], keep[i][i], keep[i][other] = sign, 1, 1
	}
	q := gx.Const(w.Graph(), quarter)
	turned := gx.Einsum("bik,lk->bil", gx.Einsum("ij,bjk->bik", q, w), q)
	return gx.Mul(gx.MulScalar(gx.Add(w, turned), 0.5), gx.InsertAxes(gx.Const(w.Graph(), keep), 0))
}

// inverse returns the inverses of matrices w [blocks, d, d] by Newton's iteration
// x ← x (2 − w x) from wᵀ/(‖w‖₁ ‖w‖∞), where it converges. Only the last step is
// differentiated: its derivative is that of the inverse.
func inverse(w *gx.Node) *gx.Node {
	size := func(axis int) *gx.Node { // largest sum of magnitudes along an axis
		return gx.ReduceAndKeep(gx.ReduceAndKeep(gx.Abs(w), gx.ReduceSum, axis), gx.ReduceMax, 3-axis)
	}
	x := gx.Div(gx.Transpose(w, 1, 2), gx.Mul(size(1), size(2)))
	next := func() *gx.Node {
		return gx.Sub(gx.MulScalar(x, 2), gx.Einsum("bij,bjk->bik", x, gx.Einsum("bij,bjk->bik", w, x)))
	}
	for range 16 {
		x = next()
	}
	x = gx.StopGradient(x)
	return next()
}
