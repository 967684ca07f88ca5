package models

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// Any is the size of an axis that may differ from batch to batch.
const Any = -1

// An Input says what a network reads under a name: one array, whose first axis
// counts the samples.
type Input struct {
	Name    string
	Shape   []int  // of one sample, with [Any] for sizes that vary
	Longest int    // the largest size that varies; 0 for no limit
	Step    int    // sizes that vary are multiples of it, such as of a patch; 0 means 1
	Like    string // an earlier input, whose shape this one has instead; may be empty
	Below   int    // values are the integers 0 … Below-1; 0 means finite floats

	// Default makes the array from that of Like where a batch lacks it; nil
	// means that a batch must have it.
	Default func(like Array) Array
}

// Filled returns a default of [Input]: the same integer everywhere.
func Filled(value int32) func(like Array) Array {
	return func(like Array) Array {
		return Array{Shape: like.Shape, Ints: slices.Repeat([]int32{value}, len(like.Ints))}
	}
}

// IsFloats reports whether the input holds floats and not integers.
func (in Input) IsFloats() bool { return in.Below == 0 }

// Input returns the input of that name.
func (s Spec) Input(name string) (Input, bool) {
	i := slices.IndexFunc(s.Inputs, func(in Input) bool { return in.Name == name })
	if i < 0 {
		return Input{}, false
	}
	return s.Inputs[i], true
}

// Complete checks that a batch fits the network and returns it with the inputs
// that have a default; arrays are shared and b itself stays as it is. Shapes,
// kinds and values are checked, those of [Labels] against the logits.
func (m *Model) Complete(b Batch) (Batch, error) {
	out, err := m.completed(b)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	return out, nil
}

// completed is Complete with errors that do not name the package yet.
func (m *Model) completed(b Batch) (Batch, error) {
	out := make(Batch, len(b)+len(m.Inputs))
	for name, a := range b {
		out[name] = a
	}
	for _, in := range m.Inputs {
		a, ok := out[in.Name]
		if !ok {
			if in.Default == nil {
				return nil, fmt.Errorf("the batch has no %s, which %s reads", in.Name, m.Arch.Class)
			}
			a = in.Default(out[in.Like])
			out[in.Name] = a
		}
		if err := in.check(a, out); err != nil {
			return nil, err
		}
	}
	if labels, ok := out[Labels]; ok {
		if err := m.Labels().check(labels, out); err != nil {
			return nil, err
		}
	}
	return out, out.check()
}

// Labels says what [Labels] fit the logits: one for each sample, or one for each
// token where the logits are of tokens. [Ignore] fits besides.
func (s Spec) Labels() Input {
	in := Input{Name: Labels, Below: s.Classes()}
	if !onePerSample(s.output()) {
		in.Shape = []int{Any}
		for _, n := range s.Graph.Nodes {
			if n.Op == graph.Embed {
				in.Like = n.Args[0].Name
			}
		}
	}
	return in
}

// onePerSample reports whether n comes after a Select or a Mean, which leave
// one token of each sample.
func onePerSample(n *graph.Node) bool {
	switch n.Op {
	case graph.Select, graph.Mean:
		return true
	case graph.Prepend:
		return false
	}
	return len(n.Args) > 0 && onePerSample(n.Args[0])
}

// check reports the first thing in which an array of a batch is not as in says.
func (in Input) check(a Array, b Batch) error {
	want := in.Shape
	if in.Like != "" {
		want = b[in.Like].Shape[1:]
	}
	fits := len(a.Shape) == len(want)+1
	for i := 0; fits && i < len(want); i++ {
		d := a.Shape[i+1]
		fits = d == want[i] || want[i] == Any && d > 0 && d%max(in.Step, 1) == 0 && (in.Longest == 0 || d <= in.Longest)
	}
	if in.Like != "" {
		fits = slices.Equal(a.Shape, b[in.Like].Shape)
	}
	otherKind := in.IsFloats() && len(a.Ints) > 0 || !in.IsFloats() && len(a.Floats) > 0
	switch {
	case otherKind:
		return fmt.Errorf("%s has shape %v%s, want %s", in.Name, a.Shape, kindOf(a), in.wanted(want))
	case !fits:
		return fmt.Errorf("%s has shape %v, want %s", in.Name, a.Shape, in.wanted(want))
	}
	for i, v := range a.Floats {
		if !finite(v) {
			return fmt.Errorf("%s is %v at position %d, want finite numbers", in.Name, v, i)
		}
	}
	for i, v := range a.Ints {
		if v >= 0 && int(v) < in.Below {
			continue
		}
		if in.Name != Labels {
			return fmt.Errorf("%s is %d at position %d, want 0 to %d", in.Name, v, i, in.Below-1)
		}
		if v != Ignore {
			return fmt.Errorf("label %d is %d, want 0 to %d", i, v, in.Below-1)
		}
	}
	return nil
}

// finite reports whether v is a number and not infinite.
func finite(v float32) bool { return v-v == 0 }

// kindOf says what an array holds.
func kindOf(a Array) string {
	switch {
	case len(a.Floats) > 0:
		return " of floats"
	case len(a.Ints) > 0:
		return " of integers"
	}
	return ""
}

// wanted says what arrays fit, samples being of that shape.
func (in Input) wanted(shape []int) string {
	var b strings.Builder
	b.WriteString("[N")
	for _, d := range shape {
		if d == Any {
			b.WriteString(" T")
		} else {
			fmt.Fprintf(&b, " %d", d)
		}
	}
	b.WriteString("] of integers")
	text := b.String()
	if in.IsFloats() {
		text = strings.TrimSuffix(text, "integers") + "floats"
	}
	if in.Longest > 0 && in.Like == "" {
		text += fmt.Sprintf(" with T at most %d", in.Longest)
	}
	if in.Step > 1 && in.Like == "" {
		text += fmt.Sprintf(" with T a multiple of %d", in.Step)
	}
	return text
}

// complete returns s with every input that the graph reads, in its order: as
// declared, or as what reads it tells.
func (s Spec) complete() (Spec, error) {
	if s.Graph == nil {
		return s, errors.New("the Spec has no Graph")
	}
	read := s.Graph.Inputs()
	var errs []error
	for i, in := range s.Inputs {
		if !slices.Contains(read, in.Name) {
			errs = append(errs, fmt.Errorf("input %q is declared and the graph does not read it: it reads %q", in.Name, read))
		}
		earlier := slices.ContainsFunc(s.Inputs[:i], func(other Input) bool { return other.Name == in.Like })
		if in.Like != "" && !earlier {
			errs = append(errs, fmt.Errorf("input %q is like %q, which is not declared before it", in.Name, in.Like))
		}
		if rows := s.derive(in.Name).Below; rows > 0 && (in.Below < 1 || in.Below > rows) {
			errs = append(errs, fmt.Errorf("input %q is below %d, what reads it takes 0 to %d", in.Name, in.Below, rows-1))
		}
	}
	inputs := slices.Clone(s.Inputs)
	for _, name := range read {
		if _, ok := s.Input(name); !ok {
			in := s.derive(name)
			i := slices.IndexFunc(inputs, func(other Input) bool { return slices.Equal(other.Shape, []int{Any}) })
			if i >= 0 && slices.Equal(in.Shape, []int{Any}) {
				in.Like = inputs[i].Name // a mask has an entry for every id
			}
			inputs = append(inputs, in)
		}
	}
	s.Inputs = inputs
	return s, errors.Join(errs...)
}

// derive says what the graph reads under a name that no Input was declared for,
// by the nodes that read it: ids below the rows of their table, no more of them
// than there are positions; a mask of zeros and ones; images of the channels of
// the projection, square where a table of positions tells their size.
func (s Spec) derive(name string) Input {
	in, positions := Input{Name: name, Shape: []int{Any}}, s.positions()
	for _, n := range s.Graph.Nodes {
		if i := slices.IndexFunc(n.Args, func(a *graph.Node) bool { return a.Op == graph.Input && a.Name == name }); i < 0 {
			continue
		}
		switch n.Op {
		case graph.Embed, graph.Table:
			table, _ := n.Param(graph.RoleRows)
			if rows := table.Shape[0]; in.Below == 0 || rows < in.Below {
				in.Below, in.Longest = rows, positions
			}
		case graph.Attend:
			in.Below, in.Longest = 2, positions
		case graph.Linear:
			kernel, _ := n.Param(graph.RoleWeight) // [units, channels, side, side]
			in.Shape, in.Step = s.image(kernel.Shape[1], kernel.Shape[2]), kernel.Shape[2]
		case graph.Patches:
			in.Shape, in.Step = s.image(n.Units/(n.Side*n.Side), n.Side), n.Side
		}
	}
	return in
}

// positions returns the number of tokens that tables of positions have rows
// for, the fewest of them; 0 where there is no such table.
func (s Spec) positions() int {
	fewest := 0
	for _, n := range s.Graph.Nodes {
		if n.Op != graph.Add {
			continue
		}
		for _, a := range n.Args {
			if rows := rowsOf(a); rows > 0 && (fewest == 0 || rows < fewest) {
				fewest = rows
			}
		}
	}
	return fewest
}

// rowsOf returns the number of rows of a table or constant that is read as it
// is; 0 for other nodes.
func rowsOf(n *graph.Node) int {
	switch {
	case n.Op == graph.Const:
		return len(n.Rows)
	case n.Op == graph.Table && len(n.Args) == 0:
		table, _ := n.Param(graph.RoleRows)
		rows, _ := count(table.Shape[:len(table.Shape)-1])
		return rows
	}
	return 0
}

// image returns the shape of images that are cut into patches of side × side
// pixels: of the layout, else as many as there are positions, in a square.
func (s Spec) image(channels, side int) []int {
	grid := s.Layout
	if grid.Rows == 0 {
		patches := s.positions()
		for _, n := range s.Graph.Nodes {
			if n.Op == graph.Prepend {
				patches -= rowsOf(n.Args[1])
			}
		}
		if root := int(math.Sqrt(float64(max(patches, 0)))); root*root == patches {
			grid = align.Layout{Rows: root, Cols: root}
		}
	}
	if grid.Rows <= 0 || grid.Cols <= 0 {
		return []int{channels, Any, Any}
	}
	return []int{channels, grid.Rows * side, grid.Cols * side}
}
