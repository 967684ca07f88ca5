package graph

import (
	"iter"
	"strings"
)

// An Op says what a node computes.
type Op uint8

// The operations.
const (
	Input   Op = iota // tensor given from outside
	Const             // fixed rows, such as sine-cosine positions
	Patches           // an image cut into rows of pixels
	Table             // learned rows: class token, positions
	Embed             // rows of a vocabulary table picked by ids
	Linear            // x Wᵀ + b, or a convolution of patches
	Norm              // layer normalisation with gain and bias
	Act               // elementwise activation
	Attend            // softmax(q kᵀ/√d) v, head by head
	Add               // sum of branches
	Prepend           // a token put before the sequence
	Select            // the first token
	Mean              // mean over the tokens
	Unembed           // x Eᵀ + b with the table E of an Embed
	Output            // logits
)

// String returns the lower-case name of the operation.
func (o Op) String() string {
	return [...]string{"input", "const", "patches", "table", "embed", "linear", "norm", "act", "attend",
		"add", "prepend", "select", "mean", "unembed", "output"}[o]
}

// A Flow says where the map that leaves a node comes from.
type Flow uint8

// The flows.
const (
	Fix   Flow = iota // the basis is fixed: the map is the identity
	Solve             // an optimal transport problem of its own
	Carry             // the map of the carrying argument
	Join              // a residual policy over all arguments
)

// String returns the lower-case name of the flow.
func (f Flow) String() string { return [...]string{"fix", "solve", "carry", "join"}[f] }

// An Axis says in which basis an axis of a parameter is expressed.
type Axis uint8

// The axes.
const (
	Fixed Axis = iota // not transported: pixels, vocabulary, positions, classes
	In                // the basis of the node's first argument
	Out               // the basis of the node itself
)

// String returns the lower-case name of the axis.
func (a Axis) String() string { return [...]string{"fixed", "in", "out"}[a] }

// A Param is a tensor of the checkpoint, or an equal part of its first axis.
type Param struct {
	Name     string // in the checkpoint
	Axes     []Axis // one per axis
	Shape    []int  // of this part
	Part, Of int    // part Part of Of along axis 0; Of is 0 for the whole tensor
}

// Full returns the shape of the whole tensor that p is a part of.
func (p Param) Full() []int {
	s := append([]int(nil), p.Shape...)
	if p.Of > 0 {
		s[0] *= p.Of
	}
	return s
}

// An Activation names an elementwise function as Hugging Face's hidden_act does.
type Activation string

// The activations.
const (
	GELU     Activation = "gelu"     // x Φ(x), exact
	GELUTanh Activation = "gelu_new" // the tanh approximation
	ReLU     Activation = "relu"
	Tanh     Activation = "tanh"
)

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

	Heads int         // of an Attend
	Eps   float64     // of a Norm
	Fn    Activation  // of an Act
	Rows  [][]float64 // of a Const: [tokens × units]
	Tie   *Node       // if not nil, the node whose map this one shares

	pinned bool // feeds an Output through carries only
	narrow bool // only the selected token of it is ever read
}

// Flow returns how maps pass n.
func (n *Node) Flow() Flow {
	switch n.Op {
	case Table, Embed, Linear:
		if n.pinned {
			return Fix
		}
		return Solve
	case Norm, Act, Attend, Prepend, Select, Mean:
		return Carry
	case Add:
		return Join
	}
	return Fix
}

// Carrier returns the argument whose map n carries on: the values of an
// Attend, the first argument of every other node.
func (n *Node) Carrier() *Node {
	if n.Op == Attend {
		return n.Args[2]
	}
	return n.Args[0]
}

// Along returns the node in whose basis that axis of a parameter of n is
// expressed, or nil where it is fixed.
func (n *Node) Along(a Axis) *Node {
	switch a {
	case Out:
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

// Narrow reports whether the network reads only the selected token of n.
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

// suffix returns name from its last dot on: ".weight" or ".bias".
func suffix(name string) string { return name[strings.LastIndexByte(name, '.'):] }
