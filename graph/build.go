package graph

import (
	"fmt"
	"slices"
)

// A Builder records a forward pass. The zero value is ready for use. Its methods
// never panic: the first mistake is kept and returned by [Builder.Output].
type Builder struct {
	nodes []*Node
	err   error
}

func (b *Builder) add(n Node, params ...Param) *Node {
	n.ID, n.Params = len(b.nodes), params
	for _, p := range params {
		for _, d := range p.Shape {
			if d <= 0 {
				b.fail("%s %s: parameter %s of shape %v", n.Op, n.Name, p.Name, p.Shape)
			}
		}
	}
	b.nodes = append(b.nodes, &n)
	return b.nodes[n.ID]
}

func (b *Builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("graph: "+format, args...)
	}
}

// checkedArguments returns the arguments of a new node, after a check that this builder made
// them; one that it did not make counts as a mistake and is replaced.
func (b *Builder) checkedArguments(name string, args ...*Node) []*Node {
	out := make([]*Node, len(args))
	for i, a := range args {
		if out[i] = a; a == nil || a.ID >= len(b.nodes) || b.nodes[a.ID] != a {
			b.fail("%s: argument %d is not of this builder", name, i)
			out[i] = &Node{Op: Const, Units: 1}
		}
	}
	return out
}

// Input declares a tensor given from outside under that name.
func (b *Builder) Input(name string) *Node { return b.add(Node{Op: Input, Name: name}) }

// Const declares fixed rows [tokens × units].
func (b *Builder) Const(name string, rows [][]float64) *Node {
	units := 0
	if len(rows) > 0 {
		units = len(rows[0])
	}
	for i, r := range rows {
		if len(r) != units {
			b.fail("const %s: row %d is %d wide, row 0 is %d wide", name, i, len(r), units)
		}
	}
	return b.ConstFunc(name, len(rows), units, func(token int) []float64 { return rows[token] })
}

// ConstFunc is [Builder.Const] of rows that are computed when somebody asks for them,
// so that a graph takes no memory for a table whose size is only claimed.
func (b *Builder) ConstFunc(name string, tokens, units int, row func(token int) []float64) *Node {
	if tokens <= 0 || units <= 0 || row == nil {
		b.fail("const %s: no rows", name)
	}
	return b.add(Node{Op: Const, Name: name, Units: units, Tokens: tokens, row: row})
}

// Patches cuts images of c channels into p×p patches, row by row, each a token
// of p·p·c pixels with the channel running fastest.
func (b *Builder) Patches(name string, x *Node, c, p int) *Node {
	if c <= 0 || p <= 0 {
		b.fail("patches %s: %d channels of %d×%d pixels", name, c, p, p)
	}
	return b.add(Node{Op: Patches, Name: name, Units: c * p * p, Side: p, Args: b.checkedArguments(name, x)})
}

// Table declares learned rows stored under name as [lead.., units].
func (b *Builder) Table(name string, units int, lead ...int) *Node {
	p := Param{Name: name, Role: RoleRows, Axes: make([]Axis, len(lead)+1),
		Shape: append(append([]int(nil), lead...), units)}
	p.Axes[len(lead)] = Out
	return b.add(Node{Op: Table, Name: name, Units: units}, p)
}

// Positions declares a [Builder.Table] of rows [rows, units], stored as
// name.weight, of which a sequence takes the first, one for each token.
func (b *Builder) Positions(name string, units, rows int) *Node {
	n := b.Table(name+".weight", units, rows)
	n.Name = name
	return n
}

// Lookup declares a [Builder.Table] of rows [rows, units], stored as
// name.weight, of which ids pick one for each token.
func (b *Builder) Lookup(name string, units, rows int, ids *Node) *Node {
	args := b.checkedArguments(name, ids)
	n := b.Table(name+".weight", units, rows)
	n.Name, n.Args = name, args
	return n
}

// Embed declares a lookup of ids in the vocabulary table name.weight [vocab, units].
func (b *Builder) Embed(name string, units, vocab int, ids *Node) *Node {
	return b.add(Node{Op: Embed, Name: name, Units: units, Args: b.checkedArguments(name, ids)},
		Param{Name: name + ".weight", Role: RoleRows, Axes: []Axis{Fixed, Out}, Shape: []int{vocab, units}})
}

// A LinearOption says how a linear layer is stored.
type LinearOption func(*Node)

// NoBias says that the layer has no bias.
func NoBias(n *Node) {
	n.Params = slices.DeleteFunc(n.Params, func(p Param) bool { return p.Role == RoleBias })
}

// Transposed says that the weight is stored as [in, units].
func Transposed(n *Node) {
	for k := range n.Params {
		slices.Reverse(n.Params[k].Axes)
		slices.Reverse(n.Params[k].Shape)
	}
}

// Conv says that the layer is a convolution of non-overlapping p×p patches of
// c channels, its weight stored as [units, c, p, p].
func Conv(c, p int) LinearOption {
	return func(n *Node) {
		for k := range n.Params {
			if w := &n.Params[k]; w.Role == RoleWeight {
				w.Axes, w.Shape = []Axis{Out, Fixed, Fixed, Fixed}, []int{n.Units, c, p, p}
			}
		}
	}
}

// Packed says that the layer is part i, from 0, of the named layer, which packs
// of layers side by side along their units.
func Packed(name string, i, of int) LinearOption {
	return func(n *Node) {
		for k := range n.Params {
			p := &n.Params[k]
			p.Name = name + lastPart(p.Name)
			p.Slice.Axis, p.Slice.Part, p.Slice.Of = p.axisAt(Out), i, of
		}
	}
}

// PackedPerHead is [Packed] for layers that are packed head by head: the named layer
// holds the units of the first head of each of its parts, then those of the second,
// and so on.
func PackedPerHead(name string, i, of, heads int) LinearOption {
	return func(n *Node) {
		Packed(name, i, of)(n)
		for k := range n.Params {
			n.Params[k].Slice.Groups = heads
		}
	}
}

// Linear declares x Wᵀ + b with name.weight [units, in] and name.bias [units].
func (b *Builder) Linear(name string, x *Node, units int, opts ...LinearOption) *Node {
	n := b.add(Node{Op: Linear, Name: name, Units: units, Args: b.checkedArguments(name, x)})
	n.Params = []Param{
		{Name: name + ".weight", Role: RoleWeight, Axes: []Axis{Out, In}, Shape: []int{units, n.Args[0].Units}},
		{Name: name + ".bias", Role: RoleBias, Axes: []Axis{Out}, Shape: []int{units}}}
	for _, o := range opts {
		if o == nil {
			b.fail("linear %s: an option is nil", name)
			continue
		}
		o(n)
	}
	for k := range n.Params {
		p := &n.Params[k]
		if p.Slice.Of != 0 {
			p.Slice.Axis = p.axisAt(Out) // in whatever order the options came
		}
		if p.Slice.Part < 0 || p.Slice.Part >= max(p.Slice.Of, 1) {
			b.fail("linear %s: part %d of %d of %s", name, p.Slice.Part, p.Slice.Of, p.Name)
		}
		if g := p.Slice.Groups; g < 0 || g > 0 && units%g != 0 {
			b.fail("linear %s: %d units in %d groups of %s", name, units, g, p.Name)
		}
		for _, d := range p.Shape {
			if d <= 0 {
				b.fail("linear %s: parameter %s of shape %v", name, p.Name, p.Shape)
			}
		}
	}
	return n
}

// Act declares an elementwise activation.
func (b *Builder) Act(name string, x *Node, fn Activation) *Node {
	if !slices.Contains(Activations(), fn) {
		b.fail("act %s: unknown activation %q (known: %q)", name, fn, Activations())
	}
	args := b.checkedArguments(name, x)
	return b.add(Node{Op: Act, Name: name, Units: args[0].Units, Fn: fn, Args: args})
}

// Add declares a sum. The first branch is the main one, the others are skips.
func (b *Builder) Add(name string, branches ...*Node) *Node {
	branches = b.checkedArguments(name, branches...)
	if len(branches) == 0 {
		b.fail("add %s: no branches", name)
	}
	n := b.add(Node{Op: Add, Name: name, Args: branches})
	for _, a := range branches {
		if n.Units = a.Units; n.Units != branches[0].Units {
			b.fail("add %s: %s is %d wide, %s is %d wide", name, branches[0].Name, branches[0].Units, a.Name, a.Units)
			break
		}
	}
	return n
}

// Prepend declares a token put before a sequence. What a Select or Mean leaves is a
// sequence of one token.
func (b *Builder) Prepend(name string, x, token *Node) *Node {
	args := b.checkedArguments(name, x, token)
	if x, token = args[0], args[1]; x.Units != token.Units {
		b.fail("prepend %s: %s is %d wide, %s is %d wide", name, x.Name, x.Units, token.Name, token.Units)
	}
	return b.add(Node{Op: Prepend, Name: name, Units: x.Units, Args: args})
}

// Select declares the first token of a sequence.
func (b *Builder) Select(name string, x *Node) *Node { return b.SelectToken(name, x, 0) }

// SelectToken declares one token of a sequence, counted from 0.
func (b *Builder) SelectToken(name string, x *Node, token int) *Node {
	if token < 0 {
		b.fail("select %s: token %d", name, token)
	}
	args := b.checkedArguments(name, x)
	return b.add(Node{Op: Select, Name: name, Units: args[0].Units, Token: token, Args: args})
}

// Mean declares the mean over the tokens of a sequence.
func (b *Builder) Mean(name string, x *Node) *Node {
	args := b.checkedArguments(name, x)
	return b.add(Node{Op: Mean, Name: name, Units: args[0].Units, Args: args})
}

// Unembed declares logits over the vocabulary of words, x Eᵀ + b with the table E
// of words and the bias that is stored under name; [NoBias] leaves it out. What
// feeds it, a layer or a sum, must leave its output in the basis of words: the two
// share one map.
func (b *Builder) Unembed(name string, x, words *Node, opts ...LinearOption) *Node {
	args := b.checkedArguments(name, x, words)
	x, words = args[0], args[1]
	if words.Op != Embed || words.Units != x.Units {
		b.fail("unembed %s: %s %s, %d wide, does not embed words as %d units",
			name, words.Op, words.Name, words.Units, x.Units)
		return b.add(Node{Op: Unembed, Name: name, Args: args})
	}
	source := x
	for source.Flow() == Carry {
		source = source.Carrier()
	}
	if source.Flow() == Fix {
		b.fail("unembed %s: %s %s cannot share the map of %s", name, source.Op, source.Name, words.Name)
	}
	source.Tie = words
	table, _ := words.Param(RoleRows)
	vocab := table.Shape[0]
	n := b.add(Node{Op: Unembed, Name: name, Units: vocab, Args: args},
		Param{Name: name, Role: RoleBias, Axes: []Axis{Fixed}, Shape: []int{vocab}})
	for _, o := range opts {
		o(n)
	}
	return n
}

// Output ends the pass at the logits x, and at what further heads put out, and
// returns the graph, or the first mistake that was made in building it. Every
// node must lead to an output: what nothing reads would be fused unseen.
func (b *Builder) Output(x *Node, heads ...*Node) (*Graph, error) {
	g, err := b.end(x, heads)
	if err != nil {
		return nil, err
	}
	for _, head := range g.output().Args {
		for n := head; ; n = n.Carrier() {
			if n.Flow() == Join {
				return nil, fmt.Errorf("graph: %s %s: the logits must come from a layer, not from a sum", n.Op, n.Name)
			}
			if n.Flow() != Carry {
				n.output = true
				break
			}
		}
	}
	g.markNarrow()
	return g, nil
}

// Features ends the pass of a network without a head, as [Builder.Output] does for
// one with logits. What a network puts out as features has no fixed basis: their
// units are moved with all others, so that the features of a fused model come in the
// basis of the anchor.
func (b *Builder) Features(x *Node, further ...*Node) (*Graph, error) {
	g, err := b.end(x, further)
	if err != nil {
		return nil, err
	}
	g.output().features = true
	g.markNarrow()
	return g, nil
}

// end declares the output and returns the graph, or the first mistake.
func (b *Builder) end(x *Node, further []*Node) (*Graph, error) {
	args := b.checkedArguments("output", append([]*Node{x}, further...)...)
	b.add(Node{Op: Output, Name: "output", Units: args[0].Units, Args: args})
	if b.err != nil {
		return nil, b.err
	}
	g := &Graph{b.nodes}
	return g, g.wellFormed()
}
