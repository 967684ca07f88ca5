package gomlx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/nn"

	"github.com/otfuse/otfuse/graph"
)

// nodes are values of a GoMLX graph by name.
type nodes map[string]*gx.Node

// interpret runs the forward pass g and returns the value of every node by its
// ID. A Table without ids has the value [rows, units]; every other node before
// a Select or Mean has [batch, tokens, units], where a node that is read at the
// selected token alone is computed there alone, unless it, or what is computed
// from it, is among those wanted at all tokens. It panics as GoMLX does.
func interpret(g *graph.Graph, params, inputs nodes, all ...int) []*gx.Node {
	values := make([]*gx.Node, len(g.Nodes))
	narrow := narrowNodes(g, all)
	for i, n := range g.Nodes {
		args := make([]*gx.Node, len(n.Args))
		for k, a := range n.Args {
			args[k] = values[a.ID]
			if narrow[i] && (n.Op != graph.Attend || k == 0) {
				args[k] = firstToken(args[k])
			}
		}
		values[i] = nodeValue(n, inputs, params, args)
		if narrow[i] {
			values[i] = firstToken(values[i])
		}
	}
	return values
}

// narrowNodes says of every node whether it is computed at the selected token
// alone.
func narrowNodes(g *graph.Graph, all []int) []bool {
	narrow := make([]bool, len(g.Nodes))
	for i, n := range g.Nodes {
		narrow[i] = n.Narrow() && !slices.Contains(all, i)
	}
	for i, n := range slices.Backward(g.Nodes) {
		for _, a := range n.Args {
			if n.Narrow() && !narrow[i] {
				narrow[a.ID] = false
			}
		}
	}
	return narrow
}

// firstToken returns the first token of v [B, tokens, units]; other values as they are.
func firstToken(v *gx.Node) *gx.Node {
	if v.Rank() != 3 || v.Shape().Dim(1) == 1 {
		return v
	}
	return gx.Slice(v, gx.AxisRange(), gx.AxisElem(0))
}

// nodeValue computes one node from its parameters and arguments. A panic of GoMLX
// becomes one that says at which node.
func nodeValue(n *graph.Node, inputs, params nodes, args []*gx.Node) *gx.Node {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *graphError:
			panic(r)
		default:
			text := oneLine(fmt.Sprint(r))
			panic(&graphError{fmt.Sprintf("node %s (%s) of shapes %s: %s", n.Name, n.Op, shapesOf(args), text)})
		}
	}()
	own, args := byRole(n, params), widened(n.Op, args)
	switch n.Op {
	case graph.Input:
		return inputs[n.Name]
	case graph.Const:
		return constant(inputs, n)
	case graph.Patches:
		return patches(args[0], n.Side, 0, 2, 4, 3, 5, 1)
	case graph.Table:
		rows := gx.Reshape(own[graph.RoleRows], -1, n.Units)
		if len(args) == 0 {
			return rows
		}
		return gx.Gather(rows, gx.InsertAxes(args[0], -1))
	case graph.Embed:
		return gx.Gather(own[graph.RoleRows], gx.InsertAxes(args[0], -1))
	case graph.Linear:
		return linear(n, own, args[0])
	case graph.Mul:
		return gx.Mul(args[0], args[1])
	case graph.Rotary:
		return rotary(n, args[0])
	case graph.Norm:
		if n.RMS {
			return rmsNorm(n, args[0], own[graph.RoleGain])
		}
		return nn.LayerNorm(args[0], []int{args[0].Rank() - 1}, n.Eps, own[graph.RoleGain], own[graph.RoleBias], nil)
	case graph.Act:
		return activate(n.Fn, args[0])
	case graph.Attend:
		return attention(n, args)
	case graph.Add:
		return addBranches(args)
	case graph.Prepend:
		return prepend(n, args)
	case graph.Select:
		return gx.Squeeze(gx.Slice(args[0], gx.AxisRange(), gx.AxisElem(n.Token)), 1)
	case graph.Mean:
		return gx.ReduceMean(args[0], 1)
	case graph.Unembed:
		table := byRole(n.Args[1], params)[graph.RoleRows]
		return nn.Dense(args[0], table, own[graph.RoleBias], compute.DenseLayoutOutputsInput)
	case graph.Output:
		return args[0]
	}
	panic(&graphError{fmt.Sprintf("node %s: the operation %s has no GoMLX graph", n.Name, n.Op)})
}

// shapesOf prints the shapes of values.
func shapesOf(values []*gx.Node) string {
	var shapes []string
	for _, v := range values {
		shapes = append(shapes, fmt.Sprint(v.Shape().Dimensions))
	}
	return strings.Join(shapes, ", ")
}

// roles are the parameters of a node by what they are to it.
type roles map[graph.Role]*gx.Node

// byRole cuts the parameters of n out of their tensors.
func byRole(n *graph.Node, params nodes) roles {
	out := roles{}
	for _, p := range n.Params {
		out[p.Role] = part(params[p.Name], p)
	}
	return out
}

// part cuts out the part of a tensor that p names.
func part(w *gx.Node, p graph.Param) *gx.Node {
	s := p.Slice
	if s.Of == 0 {
		return w
	}
	groups := max(s.Groups, 1)
	dims := slices.Clone(p.Shape)
	dims[s.Axis] /= groups
	w = gx.Reshape(w, slices.Insert(dims, s.Axis, groups, s.Of)...)
	cut := make([]gx.SliceAxisSpec, w.Rank())
	for k := range cut {
		cut[k] = gx.AxisRange()
	}
	cut[s.Axis+1] = gx.AxisElem(s.Part)
	return gx.Reshape(gx.Slice(w, cut...), p.Shape...)
}

// whole puts the parts of a tensor together again: it is the inverse of part.
func whole(parts []*gx.Node, s graph.Slice) *gx.Node {
	if s.Of == 0 {
		return parts[0]
	}
	groups, full := max(s.Groups, 1), parts[0].Shape().Clone().Dimensions
	dims := slices.Clone(full)
	dims[s.Axis] /= groups
	dims = slices.Insert(dims, s.Axis, groups, 1)
	shaped := make([]*gx.Node, len(parts))
	for i, w := range parts {
		shaped[i] = gx.Reshape(w, dims...)
	}
	full[s.Axis] *= s.Of
	return gx.Reshape(gx.Concatenate(shaped, s.Axis+1), full...)
}

// constant is the rows of a Const as a value of the graph.
func constant(inputs nodes, n *graph.Node) *gx.Node {
	values := n.Values()
	flat := make([]float32, len(values))
	for i, v := range values {
		flat[i] = float32(v)
	}
	for _, in := range inputs {
		return gx.Reshape(gx.Const(in.Graph(), flat), n.Tokens, n.Units)
	}
	return nil
}

// linear is x Wᵀ + b; a convolution of images [B, C, H, W] gives its patches
// [B, patches, units] row by row.
func linear(n *graph.Node, own roles, x *gx.Node) *gx.Node {
	w, layout := own[graph.RoleWeight], compute.DenseLayoutOutputsInput
	if p, _ := n.Param(graph.RoleWeight); p.Axes[0] == graph.In {
		layout = compute.DenseLayoutInputOutputs
	}
	if w.Rank() == 4 {
		p := w.Shape().Dim(2)
		x = patches(x, p, 0, 2, 4, 1, 3, 5)
		w = gx.Reshape(w, n.Units, -1)
	}
	y := nn.Dense(gx.ConvertDType(x, w.DType()), w, nil, layout)
	if bias := own[graph.RoleBias]; bias != nil {
		y = gx.Add(y, gx.ConvertDType(gx.ExpandLeftToRank(bias, y.Rank()), y.DType()))
	}
	return y
}

// patches cuts images [B, C, H, W], seen as [B, C, rows, p, cols, p], into
// tokens [B, rows·cols, C·p·p] with their axes in the given order.
func patches(x *gx.Node, p int, order ...int) *gx.Node {
	d := x.Shape().Dimensions
	rows, cols := d[2]/p, d[3]/p
	x = gx.Reshape(x, d[0], d[1], rows, p, cols, p)
	return gx.Reshape(gx.TransposeAllAxes(x, order...), d[0], rows*cols, d[1]*p*p)
}

// activate applies an activation function.
func activate(fn graph.Activation, x *gx.Node) *gx.Node {
	switch fn {
	case graph.GELU:
		return activation.Gelu(x)
	case graph.GELUTanh:
		return activation.GeluApproximate(x)
	case graph.ClippedGELU:
		return gx.ClipScalar(activation.Gelu(x), -10, 10)
	case graph.QuickGELU:
		return gx.Mul(x, gx.Sigmoid(gx.MulScalar(x, 1.702)))
	case graph.SiLU:
		return activation.Swish(x)
	case graph.ReLU:
		return activation.Relu(x)
	case graph.Tanh:
		return gx.Tanh(x)
	}
	panic(fmt.Sprintf("gomlx: the activation %q is not implemented", fn))
}

// prepend puts a token before a sequence, [B, tokens, units]. The rows of a table are
// put before every sample; what a Select or Mean left is one token [B, units].
func prepend(n *graph.Node, args []*gx.Node) *gx.Node {
	sequence, first := args[0], args[1]
	if sequence.Rank() == 2 {
		sequence = gx.InsertAxes(sequence, 1)
	}
	if n.Args[1].Op == graph.Table {
		first = gx.BroadcastToDims(gx.InsertAxes(first, 0), sequence.Shape().Dim(0), first.Shape().Dim(0), n.Units)
	} else if first.Rank() == 2 {
		first = gx.InsertAxes(first, 1)
	}
	return gx.Concatenate([]*gx.Node{first, sequence}, 1)
}

// addBranches adds values. A table [rows, units] among them gives its first rows,
// one for each token.
func addBranches(args []*gx.Node) *gx.Node {
	var wide *gx.Node
	for _, a := range args {
		if a.Rank() == 3 {
			wide = a
		}
	}
	total := (*gx.Node)(nil)
	for _, a := range args {
		if a.Rank() == 2 && wide != nil {
			if t := wide.Shape().Dim(1); a.Shape().Dim(0) > t {
				a = gx.Slice(a, gx.AxisRange(0, t))
			}
			a = gx.InsertAxes(a, 0)
		}
		if total == nil {
			total = a
			continue
		}
		total = gx.Add(total, a)
	}
	return total
}
