package graph

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// An Axis says in which basis an axis of a parameter is expressed.
type Axis uint8

// The axes.
const (
	Fixed Axis = iota // not transported: pixels, vocabulary, positions, classes
	In                // the basis of the node's first argument
	Out               // the basis of the node itself
	Gain              // a factor for each unit of the node: the diagonal of a map in its basis
)

// String returns the lower-case name of the axis.
func (a Axis) String() string {
	if a > Gain {
		return fmt.Sprintf("Axis(%d)", uint8(a))
	}
	return [...]string{"fixed", "in", "out", "gain"}[a]
}

// A Role says what a parameter is to its node.
type Role uint8

// The roles.
const (
	RoleWeight Role = iota // multiplies the input: a matrix or a convolution
	RoleBias               // is added to the output
	RoleGain               // is a factor for each unit of the output
	RoleRows               // holds rows that are added or looked up: tokens, positions, words
)

// String returns the lower-case name of the role.
func (r Role) String() string {
	if r > RoleRows {
		return fmt.Sprintf("Role(%d)", uint8(r))
	}
	return [...]string{"weight", "bias", "gain", "rows"}[r]
}

// A Slice says that a parameter is one of several equal parts of a tensor that
// stand side by side along one axis. The zero value is the whole tensor.
type Slice struct {
	Axis     int // along which the parts lie
	Part, Of int // part Part, from 0, of Of; Of is 0 for the whole tensor
	Groups   int // so often the parts come in turn, each time an equal share of each; 0 means 1
}

// A Param is a tensor of the checkpoint, or a part of one. How it is stored shows
// in its axes and its slice alone: [Out, In] as in most layers or [In, Out] as in
// GPT-2's.
type Param struct {
	Name  string // of the tensor in the checkpoint
	Role  Role
	Axes  []Axis // one per axis
	Shape []int  // of this part
	Slice Slice
}

// Full returns the shape of the whole tensor that p is a part of.
func (p Param) Full() []int {
	s := slices.Clone(p.Shape)
	if p.Slice.Of > 0 {
		s[p.Slice.Axis] *= p.Slice.Of
	}
	return s
}

// A Run says how the values of a part lie in the whole tensor, row by row: run r
// of Count, of Length values each, starts at Offset + r·Stride in the tensor and
// at r·Length in the part.
type Run struct{ Count, Length, Offset, Stride int }

// Runs returns how the values of p lie in the whole tensor.
func (p Param) Runs() Run {
	run := Run{Count: 1, Length: 1}
	for k, d := range p.Shape {
		if p.Slice.Of > 0 && k < p.Slice.Axis {
			run.Count *= d
		} else {
			run.Length *= d
		}
	}
	if groups := p.Slice.Groups; groups > 1 {
		run.Count, run.Length = run.Count*groups, run.Length/groups
	}
	run.Offset, run.Stride = p.Slice.Part*run.Length, max(p.Slice.Of, 1)*run.Length
	return run
}

// axisAt returns the position of an axis of p, or -1.
func (p Param) axisAt(a Axis) int { return slices.Index(p.Axes, a) }

// An Activation names an elementwise function as Hugging Face's hidden_act does.
type Activation string

// The activations.
const (
	GELU        Activation = "gelu"       // x Φ(x), exact
	GELUTanh    Activation = "gelu_new"   // the tanh approximation
	ClippedGELU Activation = "gelu_10"    // GELU, cut off at ±10
	QuickGELU   Activation = "quick_gelu" // x σ(1.702 x)
	SiLU        Activation = "silu"       // x σ(x)
	ReLU        Activation = "relu"
	Tanh        Activation = "tanh"
)

// Activations returns all activations that a graph may have.
func Activations() []Activation {
	return []Activation{GELU, GELUTanh, ClippedGELU, QuickGELU, SiLU, ReLU, Tanh}
}

// A Node is one step of the forward pass. Nodes belong to their [Graph] and
// are not to be changed.
type Node struct {
	ID     int // position in Graph.Nodes
	Op     Op
	Name   string // the module's name in the checkpoint
	Units  int    // width of the last axis; 0 for an Input
	Side   int    // of a Patches, pixels
	Args   []*Node
	Params []Param

	Heads  int        // of an Attend, a Rotary, and a Norm of each head by itself, else 0
	Scale  float64    // of the scores of an Attend, on top of 1/√d
	Causal bool       // an Attend in which tokens see themselves and what is before them
	Window int        // of a causal Attend: so many tokens, itself included; 0 for all
	Rope   Rope       // of a Rotary
	Token  int        // of a Select: which one, from 0
	Eps    float64    // of a Norm
	RMS    bool       // a Norm that divides by the root of the mean square and has no bias
	Fn     Activation // of an Act
	Tokens int        // of a Const: its rows, see [Node.Values]
	Tie    *Node      // if not nil, the node whose map this one shares

	row      func(token int) []float64 // of a Const
	output   bool                      // feeds an Output of logits through carries only
	features bool                      // of an Output: it puts out features and no logits
	narrow   bool                      // only the first token of it is ever read, by a Select
}

// Flow returns how maps pass n.
func (n *Node) Flow() Flow {
	if flow := operations()[n.Op].flow; flow != Solve || !n.output {
		return flow
	}
	return Fix
}

// Values computes the rows of a Const [tokens × units]. Of other nodes it returns nil.
func (n *Node) Values() []float64 {
	var out []float64
	for token := range n.Tokens {
		out = append(out, n.row(token)...)
	}
	return out
}

// Param returns the parameter of n in that role, and whether it has one.
func (n *Node) Param(r Role) (Param, bool) {
	for _, p := range n.Params {
		if p.Role == r {
			return p, true
		}
	}
	return Param{}, false
}

// Carrier returns the argument whose map n carries on: the values of an
// Attend, the first argument of every other node.
func (n *Node) Carrier() *Node {
	if n.Op == Attend {
		return n.Args[2]
	}
	return n.Args[0]
}

// Solved returns the node whose map n carries on: itself, if it carries none.
func (n *Node) Solved() *Node {
	for n.Flow() == Carry {
		n = n.Carrier()
	}
	return n
}

// Along returns the node in whose basis that axis of a parameter of n is
// expressed, or nil where it is fixed.
func (n *Node) Along(a Axis) *Node {
	switch a {
	case Out, Gain:
		return n
	case In:
		return n.Source()
	}
	return nil
}

// Source returns the argument whose basis the In axes of n are expressed in,
// or nil where there is none.
func (n *Node) Source() *Node {
	if len(n.Args) == 0 {
		return nil
	}
	return n.Args[0]
}

// Narrow reports whether the network reads only the first token of n, which a Select
// takes.
func (n *Node) Narrow() bool { return n.narrow }

// A Graph is a forward pass, its nodes in topological order, the last one its
// Output.
type Graph struct{ Nodes []*Node }

// Params yields every parameter with its node, in order.
func (g *Graph) Params() iter.Seq2[*Node, Param] {
	return func(yield func(*Node, Param) bool) {
		for _, n := range g.Nodes {
			for _, p := range n.Params {
				if !yield(n, p) {
					return
				}
			}
		}
	}
}

// Find returns the node of that name, or nil.
func (g *Graph) Find(name string) *Node {
	for _, n := range g.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Inputs returns the names of the tensors that the network reads, in order.
func (g *Graph) Inputs() []string {
	var names []string
	for _, n := range g.Nodes {
		if n.Op == Input {
			names = append(names, n.Name)
		}
	}
	return names
}

// HasLogits reports whether the network puts out logits, and not features in the
// basis of its units.
func (g *Graph) HasLogits() bool { return !g.output().features }

// Head returns the linear layer that writes the output, nil where there is none of its own:
// where the network puts out features, several heads, or words by their embedding.
func (g *Graph) Head() *Node {
	if head := g.output().Source(); head.Op == Linear && g.HasLogits() && len(g.output().Args) == 1 {
		return head
	}
	return nil
}

// output returns the node that ends the pass.
func (g *Graph) output() *Node { return g.Nodes[len(g.Nodes)-1] }

// Mask returns the input [batch, tokens] that says with 1 which tokens may be
// attended to, the others being padding, or nil where there is none.
func (g *Graph) Mask() *Node {
	for _, n := range g.Nodes {
		if n.Op == Attend && len(n.Args) > 3 {
			return n.Args[3]
		}
	}
	return nil
}

// lastPart returns name from its last dot on: ".weight" or ".bias".
func lastPart(name string) string { return name[strings.LastIndexByte(name, '.'):] }
