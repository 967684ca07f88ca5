package graph_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
)

// TestGates: the factor beside a gate takes signs only where nothing else in its space
// would see them.
func TestGates(t *testing.T) {
	for want, products := range map[graph.Group][]func(b *graph.Builder, x, gate, up *graph.Node) *graph.Node{
		graph.SignedPermutation: {
			func(b *graph.Builder, _, gate, up *graph.Node) *graph.Node {
				return b.Mul("mul", b.Act("act", gate, graph.SiLU), up)
			},
			func(b *graph.Builder, _, gate, up *graph.Node) *graph.Node {
				return b.Mul("mul", up, b.Act("act", gate, graph.SiLU))
			},
		},
		graph.Permutation: {
			func(b *graph.Builder, _, gate, up *graph.Node) *graph.Node { return b.Mul("mul", gate, up) },
			func(b *graph.Builder, _, gate, _ *graph.Node) *graph.Node {
				return b.Mul("mul", b.Act("act", gate, graph.SiLU), gate)
			},
			func(b *graph.Builder, _, gate, up *graph.Node) *graph.Node {
				return b.Mul("mul", b.Act("act", gate, graph.SiLU), b.Act("other", up, graph.ReLU))
			},
			func(b *graph.Builder, _, gate, up *graph.Node) *graph.Node {
				return b.Act("after", b.Mul("mul", b.Act("act", gate, graph.SiLU), up), graph.SiLU)
			},
			func(b *graph.Builder, _, gate, up *graph.Node) *graph.Node {
				h := b.Mul("mul", b.Act("act", gate, graph.SiLU), up)
				return b.Add("sum", h, up)
			},
		},
	} {
		for i, product := range products {
			var b graph.Builder
			x := b.Linear("x", b.Input("input"), 4, graph.Conv(1, 2))
			gate, up := b.Linear("gate", x, 6), b.Linear("up", x, 6)
			g, err := b.Output(b.Linear("logits", product(&b, x, gate, up), 3), b.Linear("also", up, 2))
			require.NoError(t, err)
			spaces, of := g.Spaces()
			require.Equal(t, want, spaces[of[g.Find("mul").ID]].Group, "%s %d", want, i)
		}
	}
}

// TestMixedNorms: a stream under both kinds of norms has no mean that could be taken
// away.
func TestMixedNorms(t *testing.T) {
	for want, rms := range map[graph.Group]bool{graph.MeanKeeping: false, graph.Permutation: true} {
		var b graph.Builder
		x := b.Linear("x", b.Input("input"), 4, graph.Conv(1, 2))
		first := b.Norm("first", x, 1e-6)
		second := b.Norm("second", x, 1e-6)
		if rms {
			b = graph.Builder{}
			x = b.Linear("x", b.Input("input"), 4, graph.Conv(1, 2))
			first, second = b.Norm("first", x, 1e-6), b.RMSNorm("second", x, 1e-6)
		}
		g, err := b.Output(b.Linear("logits", first, 3), b.Linear("also", second, 3))
		require.NoError(t, err)
		spaces, _ := g.Spaces()
		require.Equal(t, want, spaces[0].Group)
	}
}

// TestDecoderMistakes: what rotary positions, products and norms within heads cannot be
// of is an error that names the place.
func TestDecoderMistakes(t *testing.T) {
	for says, build := range map[string]func(b *graph.Builder, x *graph.Node) *graph.Node{
		"rotary bad: 2 heads of 8 units have no 3 planes": func(b *graph.Builder, x *graph.Node) *graph.Node {
			return b.Rotary("bad", 2, x, graph.Rope{Frequencies: []float64{1, 1, 1}})
		},
		"rotary bad: 3 heads": func(b *graph.Builder, x *graph.Node) *graph.Node {
			return b.Rotary("bad", 3, x, graph.Rope{Frequencies: []float64{1}})
		},
		"rotary bad: a factor of -1": func(b *graph.Builder, x *graph.Node) *graph.Node {
			return b.Rotary("bad", 2, x, graph.Rope{Frequencies: []float64{1}, Factor: -1})
		},
		"mul bad": func(b *graph.Builder, x *graph.Node) *graph.Node { return b.Mul("bad", x, b.Linear("y", x, 3)) },
		"norm bad: 3 heads of 8 units": func(b *graph.Builder, x *graph.Node) *graph.Node {
			return b.HeadNorm("bad", 3, x, 1e-6)
		},
		"attend bad: 4 heads over queries 8, keys 6": func(b *graph.Builder, x *graph.Node) *graph.Node {
			k := b.Linear("k", x, 6)
			return b.Attend("bad", graph.Attention{Heads: 4}, x, k, k)
		},
		"attend bad: a window of 2 tokens": func(b *graph.Builder, x *graph.Node) *graph.Node {
			return b.Attend("bad", graph.Attention{Heads: 4, Window: 2}, x, x, x)
		},
		"linear bad: 8 units in 3 groups": func(b *graph.Builder, x *graph.Node) *graph.Node {
			return b.Linear("bad", x, 8, graph.PackedPerHead("packed", 0, 3, 3))
		},
	} {
		var b graph.Builder
		x := b.Linear("x", b.Input("input"), 8, graph.Conv(1, 2))
		_, err := b.Output(b.Linear("logits", build(&b, x), 3))
		require.ErrorContains(t, err, says)
	}
}
