package gomlx

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/graph"
)

// attention is softmax(scale · q kᵀ/√d) v over heads; q, k, v are [B, T, units],
// an optional mask is [B, T]. Heads of queries that share one of keys and values are
// put one behind the other along its tokens.
func attention(n *graph.Node, args []*gx.Node) *gx.Node {
	shared := n.Shared()
	batch, tokens := args[0].Shape().Dim(0), args[0].Shape().Dim(1)
	split := func(x *gx.Node, heads int) *gx.Node { // [B, T, D] → [B, H, T, D/H]
		return gx.TransposeAllAxes(gx.Reshape(x, batch, x.Shape().Dim(1), heads, -1), 0, 2, 1, 3)
	}
	q, k, v := split(args[0], n.Heads), split(args[1], n.Heads/shared), split(args[2], n.Heads/shared)
	q, k = gx.ConvertDType(q, v.DType()), gx.ConvertDType(k, v.DType())
	d := q.Shape().Dim(3)
	q = gx.Reshape(q, batch, n.Heads/shared, shared*tokens, d)
	scores := gx.ConvertDType(gx.Einsum("bhqd,bhkd->bhqk", q, k), dtypes.Float32)
	scores = gx.MulScalar(scores, n.Scale/math.Sqrt(float64(d)))
	scores = gx.Reshape(scores, batch, n.Heads, tokens, -1)
	if keep := attendedTokens(n, args, scores); keep != nil {
		scores = gx.Add(scores, gx.MulScalar(gx.OneMinus(gx.ConvertDType(keep, dtypes.Float32)), -1e30))
	}
	shares := gx.Reshape(gx.Softmax(scores, -1), batch, n.Heads/shared, shared*tokens, -1)
	y := gx.Reshape(gx.Einsum("bhqk,bhkd->bhqd", gx.ConvertDType(shares, v.DType()), v), batch, n.Heads, tokens, -1)
	return gx.Reshape(gx.TransposeAllAxes(y, 0, 2, 1, 3), batch, tokens, n.Units)
}

// attendedTokens says with 1 or true which tokens each one attends to, in the shape of
// the scores or one that is spread to it; nil for all. In a causal attention even
// padding attends to itself.
func attendedTokens(n *graph.Node, args []*gx.Node, scores *gx.Node) *gx.Node {
	var mask *gx.Node
	if len(args) > 3 {
		mask = gx.InsertAxes(args[3], 1, 1) // [B, 1, 1, T]
	}
	if !n.Causal {
		return mask
	}
	shape := shapes.Make(dtypes.Int32, 1, 1, scores.Shape().Dim(2), scores.Shape().Dim(3))
	back := gx.Sub(gx.Iota(scores.Graph(), shape, 2), gx.Iota(scores.Graph(), shape, 3)) // tokens from key to query
	zero := gx.ScalarZero(scores.Graph(), dtypes.Int32)
	keep := gx.GreaterOrEqual(back, zero)
	if n.Window > 0 {
		keep = gx.LogicalAnd(keep, gx.LessThan(back, gx.Scalar(scores.Graph(), dtypes.Int32, n.Window)))
	}
	if mask == nil {
		return keep
	}
	itself := gx.Equal(back, zero)
	return gx.LogicalOr(itself, gx.LogicalAnd(keep, gx.NotEqual(mask, gx.ZerosLike(mask))))
}

// rmsNorm is x / √(mean x² + eps), times the gain, over all units of x [.., units] or
// over those of each head.
func rmsNorm(n *graph.Node, x, gain *gx.Node) *gx.Node {
	dims := x.Shape().Clone().Dimensions
	width := n.Units / max(n.Heads, 1)
	x = gx.Reshape(x, -1, width)
	square := gx.ReduceAndKeep(gx.Square(x), gx.ReduceMean, -1)
	x = gx.Mul(gx.Div(x, gx.Sqrt(gx.AddScalar(square, n.Eps))), gx.InsertAxes(gain, 0))
	return gx.Reshape(x, dims...)
}

// rotary turns the planes of each head of x [B, T, units] by the angles of each token.
func rotary(n *graph.Node, x *gx.Node) *gx.Node {
	dims := x.Shape().Clone().Dimensions
	tokens, d, planes := dims[1], n.Units/n.Heads, len(n.Rope.Frequencies)
	cosines, sines := make([][]float32, tokens), make([][]float32, tokens)
	for t := range tokens {
		cos, sin := n.Rope.Angles(t)
		for i := range planes {
			cosines[t], sines[t] = append(cosines[t], float32(cos[i])), append(sines[t], float32(sin[i]))
		}
	}
	x = gx.Reshape(x, dims[0], tokens, n.Heads, d)
	units := func(from, to int) *gx.Node {
		return gx.Slice(x, gx.AxisRange(), gx.AxisRange(), gx.AxisRange(), gx.AxisRange(from, to))
	}
	a, b := units(0, planes), units(planes, 2*planes)
	of := func(v [][]float32) *gx.Node { return gx.Reshape(gx.Const(x.Graph(), v), 1, tokens, 1, planes) }
	cos, sin := of(cosines), of(sines)
	parts := []*gx.Node{gx.Sub(gx.Mul(a, cos), gx.Mul(b, sin)), gx.Add(gx.Mul(b, cos), gx.Mul(a, sin))}
	if 2*planes < d {
		parts = append(parts, units(2*planes, d))
	}
	return gx.Reshape(gx.Concatenate(parts, 3), dims...)
}
