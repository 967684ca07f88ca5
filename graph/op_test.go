package graph_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestEveryOp: each operation has a name and a flow of its own, and stands in a
// network of modeltest, on which the interpreters are compared node by node and
// the laws of maps are run.
func TestEveryOp(t *testing.T) {
	names, used := map[string]bool{}, map[graph.Op]bool{}
	for _, n := range modeltest.Nets() {
		for _, x := range net(t, n).Nodes {
			used[x.Op] = true
		}
	}
	for _, op := range graph.Ops() {
		require.NotEmpty(t, op.String())
		require.False(t, names[op.String()], "two operations are called %s", op)
		names[op.String()] = true
		require.True(t, used[op], "no network of modeltest has the operation %s", op)
		flow := (&graph.Node{Op: op}).Flow()
		require.Equal(t, flow != graph.Fix || op == graph.Unembed || op == graph.Output, graph.Grants(op),
			"%s: what carries maps or reads units says what it grants", op)
	}
	require.Equal(t, "Op(200)", graph.Op(200).String())
	require.Equal(t, "Flow(9)", graph.Flow(9).String())
	require.Equal(t, "Group(9)", graph.Group(9).String())
	require.Equal(t, "Axis(9)", graph.Axis(9).String())
	require.Equal(t, "Role(9)", graph.Role(9).String())
}

// TestFurtherHeads: heads that are declared as outputs keep their basis.
func TestFurtherHeads(t *testing.T) {
	var b graph.Builder
	x := b.Linear("hidden", b.Input("x"), 4, graph.Conv(1, 1))
	g, err := b.Output(b.Linear("logits", x, 3), b.Linear("second", x, 2))
	require.NoError(t, err)
	require.Equal(t, graph.Fix, g.Find("second").Flow())
	_, of := g.Spaces()
	require.Equal(t, -1, of[g.Find("second").ID])
	require.Equal(t, 3, g.Find("output").Units, "the first head holds the logits")
}

// TestFeatures: what is put out as features keeps no basis. Its units permute, also
// those of a sum, and so do those of further outputs.
func TestFeatures(t *testing.T) {
	var b graph.Builder
	x := b.Linear("patches", b.Input("x"), 4, graph.Conv(1, 1))
	sum := b.Add("sum", b.Linear("linear", b.Norm("norm", x, 1e-6), 4), x)
	g, err := b.Features(sum, b.Act("pooled", b.Linear("pooler", b.Select("first", sum), 3), graph.Tanh))
	require.NoError(t, err)
	require.False(t, g.HasLogits())
	spaces, of := g.Spaces()
	require.Equal(t, []string{"patches 4/0", "pooler 3/0"}, spaceNames(spaces))
	for _, s := range spaces {
		require.Equal(t, graph.Permutation, s.Group)
	}
	require.Equal(t, of[g.Find("patches").ID], of[g.Find("sum").ID])
	require.Equal(t, graph.Solve, g.Find("pooler").Flow())

	var wrong graph.Builder
	_, err = wrong.Features(nil)
	require.Error(t, err)
}

// TestHeadsUnderNorms: an operation between a layer and its attention that no
// rule is known for leaves the heads where they are.
func TestHeadsUnderNorms(t *testing.T) {
	var b graph.Builder
	x := b.Linear("in", b.Input("x"), 4, graph.Conv(1, 1))
	q := b.Norm("norm", b.Linear("q", x, 4), 1e-6)
	k := b.Act("act", b.Linear("k", x, 4), graph.Tanh)
	g, err := b.Output(b.Linear("logits", b.Attend("attend", graph.Attention{Heads: 2}, q, k, b.Linear("v", x, 4)), 3))
	require.NoError(t, err)
	spaces, of := g.Spaces()
	require.Equal(t, graph.Trivial, spaces[of[g.Find("q").ID]].Group)
	require.Equal(t, graph.Headwise, spaces[of[g.Find("v").ID]].Group)
	require.Same(t, spaces[of[g.Find("q").ID]].Attend, spaces[of[g.Find("v").ID]].Attend, "they share their heads")
}

// TestRuns: a part along any axis lies in its tensor as its runs say.
func TestRuns(t *testing.T) {
	for _, c := range []struct {
		slice graph.Slice
		want  graph.Run
		full  []int
	}{
		{graph.Slice{}, graph.Run{Count: 1, Length: 6, Offset: 0, Stride: 6}, []int{2, 3}},
		{graph.Slice{Axis: 0, Part: 1, Of: 3}, graph.Run{Count: 1, Length: 6, Offset: 6, Stride: 18}, []int{6, 3}},
		{graph.Slice{Axis: 1, Part: 2, Of: 3}, graph.Run{Count: 2, Length: 3, Offset: 6, Stride: 9}, []int{2, 9}},
	} {
		p := graph.Param{Shape: []int{2, 3}, Slice: c.slice}
		require.Equal(t, c.want, p.Runs())
		require.Equal(t, c.full, p.Full())
	}
}

// TestTransposed: layouts differ in axes and slices alone, in whatever order the
// options come.
func TestTransposed(t *testing.T) {
	var b graph.Builder
	x := b.Const("x", [][]float64{{1, 2, 3}})
	one := b.Linear("one", x, 4, graph.Transposed, graph.Packed("packed", 1, 2))
	two := b.Linear("two", x, 4, graph.Packed("other", 1, 2), graph.Transposed)
	for _, n := range []*graph.Node{one, two} {
		w, ok := n.Param(graph.RoleWeight)
		require.True(t, ok)
		require.Equal(t, []graph.Axis{graph.In, graph.Out}, w.Axes)
		require.Equal(t, []int{3, 4}, w.Shape)
		require.Equal(t, []int{3, 8}, w.Full())
		bias, ok := n.Param(graph.RoleBias)
		require.True(t, ok)
		require.Equal(t, graph.Slice{Axis: 0, Part: 1, Of: 2}, bias.Slice)
		_, ok = n.Param(graph.RoleGain)
		require.False(t, ok)
	}
}
