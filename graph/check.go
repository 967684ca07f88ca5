package graph

import (
	"errors"
	"fmt"
	"slices"
)

// A TensorError says in what way one tensor of a checkpoint does not fit a graph.
type TensorError struct {
	Tensor    string
	Node      string // empty where no node claims the tensor
	Want, Got []int  // Want is nil where the tensor is left over, Got where it is missing
}

// Error implements error.
func (e *TensorError) Error() string {
	switch {
	case e.Got == nil:
		return fmt.Sprintf("graph: tensor %q of %s is missing", e.Tensor, e.Node)
	case e.Want == nil:
		return fmt.Sprintf("graph: tensor %q %v belongs to no node", e.Tensor, e.Got)
	}
	return fmt.Sprintf("graph: tensor %q of %s has shape %v, want %v", e.Tensor, e.Node, e.Got, e.Want)
}

// Check compares the shapes of a checkpoint with g. It returns one
// [*TensorError] for every tensor that is missing, misshapen or left over,
// joined, or nil.
func (g *Graph) Check(shapes map[string][]int) error {
	var errs []error
	seen := map[string]bool{}
	for n, p := range g.Params() {
		if seen[p.Name] {
			continue
		}
		seen[p.Name] = true
		want, got := p.Full(), shapes[p.Name]
		if _, ok := shapes[p.Name]; !ok {
			errs = append(errs, &TensorError{p.Name, n.Name, want, nil})
		} else if !slices.Equal(got, want) {
			errs = append(errs, &TensorError{p.Name, n.Name, want, append([]int{}, got...)})
		}
	}
	var extra []string
	for name := range shapes {
		if !seen[name] {
			extra = append(extra, name)
		}
	}
	slices.Sort(extra)
	for _, name := range extra {
		errs = append(errs, &TensorError{name, "", nil, append([]int{}, shapes[name]...)})
	}
	return errors.Join(errs...)
}

// wellFormed reports the first node that has the name of another one or that
// nothing reads.
func (g *Graph) wellFormed() error {
	names, read := map[string]bool{}, map[*Node]bool{}
	for _, n := range g.Nodes {
		if names[n.Name] {
			return fmt.Errorf("graph: %s %s: %w", n.Op, n.Name, errDuplicate)
		}
		names[n.Name] = true
		for _, a := range n.Args {
			read[a] = true
		}
	}
	for _, n := range g.Nodes {
		if !read[n] && n.Op != Output {
			return fmt.Errorf("graph: %s %s: %w", n.Op, n.Name, errUnread)
		}
	}
	return nil
}

// errUnread reports a node that leads to no output.
var errUnread = errors.New("nothing reads it, and it is not an output: pass further heads to Output")

var errDuplicate = errors.New("another node has this name")
