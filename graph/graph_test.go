package graph_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models/modeltest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func net(t *testing.T, n modeltest.Net) *graph.Graph {
	g, err := n.Graph()
	require.NoError(t, err)
	return g
}

// TestString compares the printed graphs with testdata/*.golden.
func TestString(t *testing.T) {
	for _, n := range modeltest.Nets() {
		got := net(t, n).String()
		path := filepath.Join("testdata", n.Arch.Class+".golden")
		if *update {
			require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), got, "go test ./graph -update writes %s anew", path)
	}
}

// TestDot: every node is drawn once, every argument is an arrow, and maps flow
// along the solid ones alone.
func TestDot(t *testing.T) {
	for _, n := range modeltest.Nets() {
		g := net(t, n)
		dot := g.Dot()
		require.True(t, strings.HasPrefix(dot, "digraph flow {\n") && strings.HasSuffix(dot, "}\n"))
		args := 0
		for _, x := range g.Nodes {
			require.Equal(t, 1, strings.Count(dot, fmt.Sprintf("\tt%d [label=%q", x.ID, x.Op.String()+"\n"+x.Name)))
			for _, a := range x.Args {
				args++
				style := "dashed"
				if x.Flow() == graph.Join || x.Flow() == graph.Carry && a == x.Carrier() {
					style = "solid"
				}
				require.Contains(t, dot, fmt.Sprintf("\tt%d -> t%d [style=%s];\n", a.ID, x.ID, style), x.Name)
			}
			if x.Tie != nil {
				require.Contains(t, dot, fmt.Sprintf("\tt%d -> t%d [style=dotted", x.Tie.ID, x.ID))
				args++
			}
		}
		require.Equal(t, args, strings.Count(dot, "->"))
	}
}

// TestCheck: everything that does not fit is named at once.
func TestCheck(t *testing.T) {
	g := net(t, modeltest.SimpleViT())
	shapes := map[string][]int{}
	for _, p := range g.Params() {
		shapes[p.Name] = p.Full()
	}
	require.Equal(t, []int{18, 8}, shapes["transformer.layers.0.0.to_qkv.weight"], "the whole of three parts")
	require.NoError(t, g.Check(shapes))

	delete(shapes, "transformer.norm.bias")
	delete(shapes, "transformer.layers.1.0.to_qkv.weight")
	shapes["transformer.layers.0.0.to_qkv.weight"] = []int{8, 18}
	shapes["linear_head.bias"] = nil // a scalar
	shapes["extra.b"], shapes["extra.a"] = []int{1, 2}, nil
	err := g.Check(shapes)
	var got []graph.TensorError
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var te *graph.TensorError
		require.ErrorAs(t, e, &te)
		got = append(got, *te)
		require.ErrorContains(t, te, te.Tensor)
		require.Contains(t, err.Error(), te.Error())
	}
	require.ElementsMatch(t, []graph.TensorError{
		{Tensor: "transformer.layers.0.0.to_qkv.weight", Node: "transformer.layers.0.0.q", Want: []int{18, 8},
			Got: []int{8, 18}},
		{Tensor: "transformer.layers.1.0.to_qkv.weight", Node: "transformer.layers.1.0.q", Want: []int{18, 8}},
		{Tensor: "transformer.norm.bias", Node: "transformer.norm", Want: []int{8}},
		{Tensor: "linear_head.bias", Node: "linear_head", Want: []int{3}, Got: []int{}},
		{Tensor: "extra.a", Got: []int{}},
		{Tensor: "extra.b", Got: []int{1, 2}},
	}, got)
	require.Equal(t, "extra.a", got[4].Tensor, "leftovers come last, in order")
}

// TestBuilderMistakes: what cannot be computed is an error of Output that names
// the place.
func TestBuilderMistakes(t *testing.T) {
	rows := [][]float64{{1, 2, 3, 4}}
	for name, build := range map[string]func(*graph.Builder) *graph.Node{
		"heads": func(b *graph.Builder) *graph.Node {
			x := b.Const("x", rows)
			return b.Attend("bad", graph.Attention{Heads: 3}, x, x, x)
		},
		"no token": func(b *graph.Builder) *graph.Node { return b.SelectToken("bad", b.Const("x", rows), -1) },
		"no heads": func(b *graph.Builder) *graph.Node {
			x := b.Const("x", rows)
			return b.Attend("bad", graph.Attention{Heads: 0}, x, x, x)
		},
		"queries": func(b *graph.Builder) *graph.Node {
			x := b.Const("x", rows)
			return b.Attend("bad", graph.Attention{Heads: 1}, b.Linear("q", x, 2), x, x)
		},
		"widths": func(b *graph.Builder) *graph.Node {
			x := b.Const("x", rows)
			return b.Add("bad", x, b.Linear("y", x, 3))
		},
		"no branches": func(b *graph.Builder) *graph.Node { return b.Add("bad") },
		"token":       func(b *graph.Builder) *graph.Node { return b.Prepend("bad", b.Const("x", rows), b.Table("y", 3, 1)) },
		"activation":  func(b *graph.Builder) *graph.Node { return b.Act("bad", b.Const("x", rows), "swish") },
		"no units":    func(b *graph.Builder) *graph.Node { return b.Linear("bad", b.Const("x", rows), 0) },
		"no inputs":   func(b *graph.Builder) *graph.Node { return b.Linear("bad", b.Input("x"), 4) },
		"no patch":    func(b *graph.Builder) *graph.Node { return b.Linear("bad", b.Input("x"), 4, graph.Conv(3, 0)) },
		"part": func(b *graph.Builder) *graph.Node {
			return b.Linear("bad", b.Const("x", rows), 4, graph.Packed("p", 3, 3))
		},
		"negative part": func(b *graph.Builder) *graph.Node {
			return b.Linear("bad", b.Const("x", rows), 4, graph.Packed("p", -1, 3))
		},
		"no rows":         func(b *graph.Builder) *graph.Node { return b.Const("bad", nil) },
		"ragged":          func(b *graph.Builder) *graph.Node { return b.Const("bad", [][]float64{{1, 2}, {3}}) },
		"no vocabulary":   func(b *graph.Builder) *graph.Node { return b.Embed("bad", 4, 0, b.Input("ids")) },
		"empty table":     func(b *graph.Builder) *graph.Node { return b.Table("bad", 4, 0) },
		"norm of nothing": func(b *graph.Builder) *graph.Node { return b.Norm("bad", b.Input("x"), 1e-6) },
		"nil":             func(b *graph.Builder) *graph.Node { return b.Norm("bad", nil, 1e-6) },
		"nil branch":      func(b *graph.Builder) *graph.Node { return b.Add("bad", b.Const("x", rows), nil) },
		"foreign": func(b *graph.Builder) *graph.Node {
			var other graph.Builder
			return b.Norm("bad", other.Const("x", rows), 1e-6)
		},
		"negative scale": func(b *graph.Builder) *graph.Node {
			x := b.Const("x", rows)
			return b.Attend("bad", graph.Attention{Heads: 1, Scale: -1}, x, x, x)
		},
		"nil ids":    func(b *graph.Builder) *graph.Node { return b.Lookup("bad", 4, 2, nil) },
		"nil output": func(*graph.Builder) *graph.Node { return nil },
		"twice":      func(b *graph.Builder) *graph.Node { b.Table("bad", 4, 2); return b.Table("bad", 4, 2) },
		"join at the end": func(b *graph.Builder) *graph.Node {
			x := b.Const("x", rows)
			return b.Add("bad", b.Linear("l", x, 4), b.Linear("m", x, 4))
		},
		"second head": func(b *graph.Builder) *graph.Node {
			x := b.Linear("first", b.Const("x", rows), 4)
			b.Linear("bad", x, 2)
			return b.Linear("logits", x, 2)
		},
		"unread input": func(b *graph.Builder) *graph.Node { b.Input("bad"); return b.Linear("l", b.Const("x", rows), 4) },
		"nil option":   func(b *graph.Builder) *graph.Node { return b.Linear("bad", b.Const("x", rows), 4, nil) },
		"no words": func(b *graph.Builder) *graph.Node {
			x := b.Const("x", rows)
			return b.Unembed("bad", b.Linear("l", x, 4), x)
		},
		"words of other width": func(b *graph.Builder) *graph.Node {
			return b.Unembed("bad", b.Linear("l", b.Const("x", rows), 4), b.Embed("words", 5, 7, b.Input("ids")))
		},
		"many": func(b *graph.Builder) *graph.Node {
			x := b.Act("bad", b.Const("x", rows), "swish")
			return b.Attend("second", graph.Attention{Heads: 3}, x, x, x)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b graph.Builder
			require.NotPanics(t, func() {
				g, err := b.Output(build(&b))
				require.Error(t, err)
				require.Nil(t, g)
				if name != "nil output" {
					require.ErrorContains(t, err, "bad")
				}
			})
		})
	}
}

func spaceNames(spaces []graph.Space) []string {
	var out []string
	for _, s := range spaces {
		out = append(out, fmt.Sprintf("%s %d/%d", s.Nodes[0].Name, s.Units, s.Heads))
	}
	return out
}

// TestSpaces: one residual space and, in each layer, queries with keys, values,
// and hidden units.
func TestSpaces(t *testing.T) {
	g := net(t, modeltest.ViT())
	spaces, of := g.Spaces()
	require.Equal(t, []string{"vit.embeddings.patch_embeddings.projection 8/0",
		"vit.encoder.layer.0.attention.attention.query 8/2", "vit.encoder.layer.0.attention.attention.value 8/2",
		"vit.encoder.layer.0.intermediate.dense 12/0",
		"vit.encoder.layer.1.attention.attention.query 8/2", "vit.encoder.layer.1.attention.attention.value 8/2",
		"vit.encoder.layer.1.intermediate.dense 12/0"}, spaceNames(spaces))
	for k, s := range spaces {
		for _, n := range s.Nodes {
			require.Equal(t, k, of[n.ID])
			require.Equal(t, s.Units, n.Units)
		}
	}
	same := func(a, b string) {
		t.Helper()
		require.Equal(t, of[g.Find(a).ID], of[g.Find(b).ID])
	}
	same("vit.embeddings.cls_token", "vit.embeddings.position_embeddings")
	same("vit.embeddings.cls_token", "vit.encoder.layer.1.output.dense")
	same("vit.embeddings.cls_token", "cls")
	same("vit.encoder.layer.0.attention.attention.query", "vit.encoder.layer.0.attention.attention.key")
	same("vit.encoder.layer.0.attention.attention.value", "vit.encoder.layer.0.attention.attention")
	same("vit.encoder.layer.0.intermediate.dense", "vit.encoder.layer.0.intermediate")
	for _, fixed := range []string{"pixel_values", "classifier", "output"} {
		require.Equal(t, -1, of[g.Find(fixed).ID], fixed)
	}
}

// TestGroups: the residual stream may turn where norms stand before every
// reader; words (norms after the sums) and pinned streams only permute.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		net  modeltest.Net
		want string
	}{
		{modeltest.ViT(), "mean-keeping headwise headwise permutation headwise headwise permutation"},
		{modeltest.SimpleViT(), "headwise headwise permutation headwise headwise permutation"},
		{modeltest.PackedWords(), "mean-keeping headwise headwise permutation headwise headwise permutation"},
		{modeltest.Llama(), "orthogonal head planes headwise signed permutation head planes headwise signed permutation"},
		{modeltest.Classifier(),
			"permutation headwise headwise permutation headwise headwise permutation signed permutation"},
		{modeltest.MaskedLM(), "permutation headwise headwise permutation headwise headwise permutation"},
	} {
		spaces, _ := net(t, c.net).Spaces()
		var got []string
		for _, s := range spaces {
			got = append(got, s.Group.String())
		}
		require.Equal(t, c.want, strings.Join(got, " "), c.net.Arch.Class)
	}
}

// TestFixedStream: fixed positions pin all that is added to them.
func TestFixedStream(t *testing.T) {
	g := net(t, modeltest.SimpleViT())
	spaces, of := g.Spaces()
	require.Equal(t, []string{"transformer.layers.0.0.q 6/2", "transformer.layers.0.0.v 6/2",
		"transformer.layers.0.1.net.1 12/0", "transformer.layers.1.0.q 6/2", "transformer.layers.1.0.v 6/2",
		"transformer.layers.1.1.net.1 12/0"}, spaceNames(spaces))
	for _, name := range []string{"to_patch_embedding.0", "to_patch_embedding.2", "to_patch_embedding.3", "pos_embedding",
		"transformer.layers.0.0.to_out", "transformer.layers.1.1.net.3", "transformer.norm", "to_latent", "linear_head"} {
		require.Equal(t, -1, of[g.Find(name).ID], name)
	}
	require.Equal(t, graph.Solve, g.Find("to_patch_embedding.2").Flow(), "it still has a plan of its own")
	require.Equal(t, graph.Fix, g.Find("linear_head").Flow())
	pinned := g.FixedStreams()
	require.Len(t, pinned, 1)
	require.Equal(t, graph.Trivial, pinned[0].Group)
	for name, in := range map[string]bool{"to_patch_embedding.0": false, "to_patch_embedding.2": true,
		"pos_embedding":                true,
		"transformer.layers.1.1.net.3": true, "to_latent": true, "linear_head": false} {
		require.Equal(t, in, slices.Contains(pinned[0].Nodes, g.Find(name)), name)
	}
	for _, free := range []modeltest.Net{modeltest.ViT(), modeltest.MaskedLM()} {
		require.Empty(t, net(t, free).FixedStreams())
	}
}

// TestTied: logits over the words tie the layer before them to the word table.
func TestTied(t *testing.T) {
	g := net(t, modeltest.Words())
	require.Same(t, g.Find("words"), g.Find("transform").Tie)
	require.Equal(t, graph.Solve, g.Find("transform").Flow())
	require.Equal(t, graph.Fix, g.Find("bias").Flow())
	require.Equal(t, []int{11}, g.Find("bias").Params[0].Shape)
	spaces, of := g.Spaces()
	require.Len(t, spaces, 1+2*3)
	require.Equal(t, of[g.Find("words").ID], of[g.Find("transform.norm").ID])
	require.Equal(t, []string{"input_ids", "token_type_ids", "attention_mask"}, g.Inputs())
	for _, n := range g.Nodes {
		if n.Tie != nil {
			require.Equal(t, "transform", n.Name)
		}
	}
}

// TestTiedSum: a decoder without a bias may tie the sum that feeds its norm.
func TestTiedSum(t *testing.T) {
	var b graph.Builder
	word := b.Embed("words", 4, 7, b.Input("ids"))
	sum := b.Add("sum", b.Linear("layer", word, 4), word)
	g, err := b.Output(b.Unembed("head", b.Norm("norm", sum, 1), word, graph.NoBias))
	require.NoError(t, err)
	require.Same(t, word, g.Find("sum").Tie)
	require.Empty(t, g.Find("head").Params)
	spaces, of := g.Spaces()
	require.Len(t, spaces, 1)
	require.Equal(t, graph.Permutation, spaces[0].Group, "the gain of the norm cannot be folded into the words")
	require.Equal(t, of[word.ID], of[g.Find("norm").ID])
}

// TestNarrow: with a class token, all after the last keys and values is read at
// that token only, and so are the last queries.
func TestNarrow(t *testing.T) {
	g := net(t, modeltest.ViT())
	var got []string
	for _, n := range g.Nodes {
		if n.Narrow() {
			got = append(got, n.Name)
		}
	}
	l := "vit.encoder.layer.1."
	require.Equal(t, []string{l + "attention.attention.query", l + "attention.attention", l + "attention.output.dense", l +
		"attention",
		l + "layernorm_after", l + "intermediate.dense", l + "intermediate", l + "output.dense", l + "output",
		"vit.layernorm"}, got)
	for _, n := range []modeltest.Net{modeltest.SimpleViT(), modeltest.Words()} {
		for _, x := range net(t, n).Nodes {
			require.False(t, x.Narrow(), "%s of %s: every token is read", x.Name, n.Arch.Class)
		}
	}
}

// TestSelectToken: of a node that is read at a token other than the first, every
// token is computed.
func TestSelectToken(t *testing.T) {
	for token, narrow := range []bool{true, false} {
		var b graph.Builder
		x := b.Norm("norm", b.Linear("patches", b.Input("image"), 4, graph.Conv(1, 1)), 1e-6)
		g, err := b.Output(b.Linear("head", b.SelectToken("token", x, token), 2))
		require.NoError(t, err)
		require.Equal(t, narrow, g.Find("norm").Narrow())
		require.Equal(t, token, g.Find("token").Token)
		require.Equal(t, graph.Fix, g.Find("head").Flow())
	}
}

// TestFlows: what a node does with a map follows from what it computes.
func TestFlows(t *testing.T) {
	want := map[graph.Op]graph.Flow{graph.Input: graph.Fix, graph.Const: graph.Fix, graph.Patches: graph.Fix,
		graph.Table: graph.Solve, graph.Embed: graph.Solve,
		graph.Norm: graph.Carry, graph.Act: graph.Carry, graph.Attend: graph.Carry, graph.Prepend: graph.Carry,
		graph.Mul: graph.Carry, graph.Rotary: graph.Carry,
		graph.Select: graph.Carry,
		graph.Mean:   graph.Carry, graph.Add: graph.Join, graph.Unembed: graph.Fix, graph.Output: graph.Fix}
	seen := map[graph.Op]bool{}
	for _, n := range modeltest.Nets() {
		for _, x := range net(t, n).Nodes {
			seen[x.Op] = true
			flow, ok := want[x.Op]
			if !ok {
				flow = graph.Solve
				if x.Name == "classifier" || x.Name == "linear_head" || x.Name == "lm_head" {
					flow = graph.Fix
				}
			}
			require.Equal(t, flow, x.Flow(), "%s %s", x.Op, x.Name)
			if x.Op == graph.Attend {
				require.Same(t, x.Args[2], x.Carrier())
			}
		}
	}
	require.Len(t, seen, len(graph.Ops()), "every operation stands in one of the networks")
}

// TestFixedBehindCarries: whatever only carries maps to the logits passes on
// that they are fixed.
func TestFixedBehindCarries(t *testing.T) {
	var b graph.Builder
	x := b.Linear("first", b.Input("x"), 4, graph.Conv(1, 1))
	g, err := b.Output(b.Act("tanh", b.Norm("norm", b.Linear("last", x, 3), 1e-6), graph.Tanh))
	require.NoError(t, err)
	require.Equal(t, graph.Fix, g.Find("last").Flow())
	spaces, of := g.Spaces()
	require.Equal(t, []string{"first 4/0"}, spaceNames(spaces))
	require.Equal(t, -1, of[g.Find("norm").ID])
	require.Nil(t, g.Find("nothing of that name"))
}

func TestTensorErrorText(t *testing.T) {
	for want, e := range map[string]error{
		`graph: tensor "w" of n is missing`:        &graph.TensorError{Tensor: "w", Node: "n", Want: []int{1}},
		`graph: tensor "w" [2] belongs to no node`: &graph.TensorError{Tensor: "w", Got: []int{2}},
		`graph: tensor "w" of n has shape [2 3], want [3 2]`: &graph.TensorError{Tensor: "w", Node: "n", Want: []int{3, 2},
			Got: []int{2, 3}},
	} {
		require.EqualError(t, errors.Join(e), want)
	}
}
