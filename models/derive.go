package models

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// withInputs returns s with an Input for everything that the graph reads. Inputs
// that were not declared are derived from the nodes that read them.
func (s Spec) withInputs() (Spec, error) {
	if s.Graph == nil || len(s.Graph.Nodes) == 0 {
		return s, errors.New("the Spec has no Graph")
	}
	if err := s.checkDeclared(); err != nil {
		return s, err
	}
	inputs := slices.Clone(s.Inputs)
	for _, name := range s.Graph.Inputs() {
		if _, ok := s.Input(name); ok {
			continue
		}
		in := s.derive(name)
		first := slices.IndexFunc(inputs, Input.isText)
		if first >= 0 && in.isText() {
			in.Like = inputs[first].Name // such as a mask, which has an entry for every id
		}
		inputs = append(inputs, in)
	}
	s.Inputs = inputs
	return s, nil
}

// isText reports whether samples are sequences of any length.
func (in Input) isText() bool { return slices.Equal(in.Shape, []int{Any}) }

// checkDeclared reports declared inputs that contradict each other or the graph.
func (s Spec) checkDeclared() error {
	var errs []error
	read, earlier := s.Graph.Inputs(), map[string]bool{}
	for _, in := range s.Inputs {
		switch limit := s.derive(in.Name).Below; {
		case !slices.Contains(read, in.Name):
			errs = append(errs, fmt.Errorf("input %q is declared and the graph does not read it: it reads %q", in.Name, read))
		case earlier[in.Name]:
			errs = append(errs, fmt.Errorf("input %q is declared twice", in.Name))
		case in.Like != "" && !earlier[in.Like]:
			errs = append(errs, fmt.Errorf("input %q is like %q, which is not declared before it", in.Name, in.Like))
		case limit > 0 && (in.Below < 1 || in.Below > limit):
			errs = append(errs, fmt.Errorf("input %q is below %d, what reads it takes 0 to %d", in.Name, in.Below, limit-1))
		}
		earlier[in.Name] = true
	}
	return errors.Join(errs...)
}

// derive describes the input of that name by the nodes that read it:
//
//   - ids are below the number of rows of their table, and a text is no longer than
//     the table of positions;
//   - a mask holds zeros and ones;
//   - images have the channels of the layer that cuts them into patches, and the size
//     that the layout or the table of positions gives them.
func (s Spec) derive(name string) Input {
	in, positions := Input{Name: name, Shape: []int{Any}}, s.positions()
	for _, n := range s.Graph.Nodes {
		if !slices.ContainsFunc(n.Args, func(a *graph.Node) bool { return a.Op == graph.Input && a.Name == name }) {
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
			in.Shape, in.Step = s.imageShape(kernel.Shape[1], kernel.Shape[2]), kernel.Shape[2]
		case graph.Patches:
			in.Shape, in.Step = s.imageShape(n.Units/(n.Side*n.Side), n.Side), n.Side
		}
	}
	return in
}

// positions returns the number of rows of the smallest table or constant that is
// added to tokens; 0 where none is.
func (s Spec) positions() int {
	fewest := 0
	for _, n := range s.Graph.Nodes {
		if n.Op != graph.Add {
			continue
		}
		for _, a := range n.Args {
			if rows := tableRows(a); rows > 0 && (fewest == 0 || rows < fewest) {
				fewest = rows
			}
		}
	}
	return fewest
}

// tableRows returns the number of rows of a constant, or of a table that is added
// row by row and not looked up; 0 for other nodes.
func tableRows(n *graph.Node) int {
	switch {
	case n.Op == graph.Const:
		return n.Tokens
	case n.Op == graph.Table && len(n.Args) == 0:
		table, _ := n.Param(graph.RoleRows)
		rows, _ := count(table.Shape[:len(table.Shape)-1])
		return rows
	}
	return 0
}

// imageShape returns the shape [channels, height, width] of images that are cut
// into patches of side × side pixels. The grid of patches is that of the layout,
// else a square of as many patches as there are positions beside prepended tokens.
// Height and width are [Any] where neither gives a grid.
func (s Spec) imageShape(channels, side int) []int {
	grid := s.Layout
	if grid.Rows == 0 {
		patches := s.positions()
		for _, n := range s.Graph.Nodes {
			if n.Op == graph.Prepend {
				patches -= tableRows(n.Args[1])
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
