package modeltest

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
)

// attend returns softmax(scale · q kᵀ/√d) v for each head of d units of the queries,
// over the tokens that the mask allows (nil: all) and, where it is causal, up to the
// token itself and from its window on. Heads of keys and values serve as many heads
// of queries in a row as there are for each of them.
func attend(n *graph.Node, q, k, v *mat.Dense, mask []int32) *mat.Dense {
	tokens, units := q.Dims()
	d, valueUnits := units/n.Heads, n.Units/n.Heads
	out := mat.NewDense(tokens, n.Units, nil)
	for h := range n.Heads {
		shared := h / n.Shared()
		for i := range tokens {
			share := make([]float64, tokens)
			var total float64
			for j := range tokens {
				if !seen(n, i, j, mask) {
					continue
				}
				var score float64
				for c := range d {
					score += q.At(i, h*d+c) * k.At(j, shared*d+c)
				}
				share[j] = math.Exp(n.Scale * score / math.Sqrt(float64(d)))
				total += share[j]
			}
			for j := range tokens {
				for c := range valueUnits {
					at := h*valueUnits + c
					out.Set(i, at, out.At(i, at)+share[j]/total*v.At(j, shared*valueUnits+c))
				}
			}
		}
	}
	return out
}

// seen reports whether token i attends to token j. In a causal attention even padding
// attends to itself.
func seen(n *graph.Node, i, j int, mask []int32) bool {
	masked := mask != nil && mask[j] == 0
	if !n.Causal {
		return !masked
	}
	return i == j || !masked && j < i && (n.Window == 0 || i-j < n.Window)
}

// rmsNorm returns x/√(mean x² + eps) · gain, row by row, each head by itself where the
// norm has heads.
func rmsNorm(n *graph.Node, x *mat.Dense, gain []float64) *mat.Dense {
	out := mat.DenseCopyOf(x)
	rows, units := x.Dims()
	width := units / max(n.Heads, 1)
	for i := range rows {
		for from := 0; from < units; from += width {
			part := out.RawRowView(i)[from : from+width]
			var square float64
			for _, v := range part {
				square += v * v / float64(width)
			}
			for j, v := range part {
				part[j] = v / math.Sqrt(square+n.Eps) * gain[j]
			}
		}
	}
	return out
}

// rotary turns the planes of each head by the angles of each token.
func rotary(n *graph.Node, x *mat.Dense) *mat.Dense {
	out := mat.DenseCopyOf(x)
	tokens, units := x.Dims()
	planes := len(n.Rope.Frequencies)
	for t := range tokens {
		cosines, sines := n.Rope.Angles(t)
		for from := 0; from < units; from += units / n.Heads {
			for i := range planes {
				a, b := x.At(t, from+i), x.At(t, from+i+planes)
				out.Set(t, from+i, a*cosines[i]-b*sines[i])
				out.Set(t, from+i+planes, b*cosines[i]+a*sines[i])
			}
		}
	}
	return out
}
