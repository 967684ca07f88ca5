package graph

import "fmt"

// An Op says what a node computes. Everything that the library must know about
// an operation in order to carry maps through it stands in one row of a table:
// its name, its flow, and what it grants to the units that it touches.
type Op uint8

// The operations.
const (
	Input   Op = iota // a tensor given from outside
	Const             // fixed rows, such as sine-cosine positions
	Patches           // an image cut into rows of pixels
	Table             // learned rows: class token, positions
	Embed             // rows of a vocabulary table picked by ids
	Linear            // x Wᵀ + b, or a convolution of patches
	Norm              // layer normalisation, or division by the root of the mean square
	Act               // an elementwise activation
	Mul               // the product of two factors, unit by unit
	Rotary            // positions that turn the planes of heads
	Attend            // softmax(q kᵀ/√d) v, head by head; queries may share keys and values
	Add               // the sum of branches
	Prepend           // a token put before the sequence
	Select            // one token, mostly the first
	Mean              // the mean over the tokens
	Unembed           // x Eᵀ + b with the table E of an Embed
	Output            // what the network returns
)

// operation is what the library knows of an Op.
type operation struct {
	name   string
	flow   Flow
	grants grant
}

// A grant says what may be done to the units of a space as far as one node is
// concerned, which writes them, passes them on or reads them.
type grant func(g *Graph, s Space, n *Node) Group

// operations lists all operations by Op. An operation without a grant leaves the
// units that it touches where they are: what the library has not been told of
// is not allowed.
func operations() [Output + 1]operation {
	return [...]operation{
		Input:   {"input", Fix, nil},
		Const:   {"const", Fix, nil},
		Patches: {"patches", Fix, nil},
		Table:   {"table", Solve, anything},
		Embed:   {"embed", Solve, anything},
		Linear:  {"linear", Solve, anything},
		Norm:    {"norm", Carry, (*Graph).grantedByNorm},
		Act:     {"act", Carry, (*Graph).grantedByAct},
		Mul:     {"mul", Carry, (*Graph).grantedByMul},
		Rotary:  {"rotary", Carry, grantedByRotary},
		Attend:  {"attend", Carry, headwise},
		Add:     {"add", Join, anything},
		Prepend: {"prepend", Carry, anything},
		Select:  {"select", Carry, anything},
		Mean:    {"mean", Carry, anything},
		Unembed: {"unembed", Fix, orthogonal},
		Output:  {"output", Fix, permutations},
	}
}

// Ops returns all operations, in order.
func Ops() []Op {
	var out []Op
	for op := range operations() {
		out = append(out, Op(op))
	}
	return out
}

// String returns the lower-case name of the operation.
func (o Op) String() string {
	if int(o) >= len(operations()) {
		return fmt.Sprintf("Op(%d)", uint8(o))
	}
	return operations()[o].name
}

// A Flow says where the map that leaves a node comes from.
type Flow uint8

// The flows.
const (
	Fix   Flow = iota // the basis is fixed: the map is the identity
	Solve             // a transport problem of its own
	Carry             // the map of the carrying argument
	Join              // a residual policy over all arguments
)

// String returns the lower-case name of the flow.
func (f Flow) String() string {
	if f > Join {
		return fmt.Sprintf("Flow(%d)", uint8(f))
	}
	return [...]string{"fix", "solve", "carry", "join"}[f]
}

// MarshalText implements [encoding.TextMarshaler]: it writes the name.
func (f Flow) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]: it reads the name.
func (f *Flow) UnmarshalText(name []byte) error {
	for known := range Join + 1 {
		if known.String() == string(name) {
			*f = known
			return nil
		}
	}
	return fmt.Errorf("graph: no flow is called %q", name)
}
