package gomlx

import gx "github.com/gomlx/gomlx/core/graph"

// orthogonalize takes a step of Newton and Schulz, w (3 − wᵀw)/2, from w [1, n, n]
// towards the nearest rotation that keeps (1, …, 1): w is centred first, and 1/n is
// added to every entry after that. At a rotation its derivative removes from a
// gradient what leads away from rotations.
func orthogonalize(w *gx.Node) *gx.Node {
	w = gx.Sub(gx.Sub(w, gx.ReduceAndKeep(w, gx.ReduceMean, 1)), gx.ReduceAndKeep(w, gx.ReduceMean, 2))
	w = gx.Add(w, gx.MulScalar(gx.ReduceAndKeep(gx.ReduceAndKeep(w, gx.ReduceMean, 1), gx.ReduceMean, 2), -1))
	gram := gx.Einsum("bki,bkj->bij", w, w)
	w = gx.Sub(gx.MulScalar(w, 1.5), gx.MulScalar(gx.Einsum("bik,bkj->bij", w, gram), 0.5))
	return gx.AddScalar(w, 1/float64(w.Shape().Dim(-1)))
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
