package fuse

import (
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A MismatchError reports models whose graphs do not correspond.
type MismatchError struct {
	What           string // such as "depth" or the name of a node
	Source, Anchor string
}

// Error implements error.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s differs: the source has %s, the anchor has %s", e.What, e.Source, e.Anchor)
}

// Check reports models that cannot be fused, as a [*MismatchError]: their graphs
// must match node by node, they must agree along every axis that is not transported,
// and what their inputs and outputs mean must be the same, or be brought to it by
// [Translate].
func Check(src, anchor *models.Model) error {
	_, err := Translate(src, anchor)
	return err
}

// sameStructure reports the first difference between the networks of two models.
func sameStructure(src, anchor *models.Model) error {
	if src == nil || anchor == nil {
		return errNoModel
	}
	if src.Arch.Class != anchor.Arch.Class {
		return &MismatchError{"architecture", src.Arch.Class, anchor.Arch.Class}
	}
	if a, b := src.Dims().Depth, anchor.Dims().Depth; a != b {
		return &MismatchError{"depth", fmt.Sprintf("%d layers", a), fmt.Sprintf("%d layers", b)}
	}
	if a, b := len(src.Graph.Nodes), len(anchor.Graph.Nodes); a != b {
		return &MismatchError{"size", fmt.Sprintf("%d nodes", a), fmt.Sprintf("%d nodes", b)}
	}
	for i, s := range src.Graph.Nodes {
		a := anchor.Graph.Nodes[i]
		if s.Op != a.Op || s.Name != a.Name || s.Fn != a.Fn {
			return &MismatchError{"node " + fmt.Sprint(i), fmt.Sprint(s.Op, " ", s.Name, " ", s.Fn),
				fmt.Sprint(a.Op, " ", a.Name, " ", a.Fn)}
		}
		if s.Eps != a.Eps {
			return &MismatchError{"layer_norm_eps of " + s.Name, fmt.Sprint(s.Eps), fmt.Sprint(a.Eps)}
		}
		if x, y := len(s.Params), len(a.Params); x != y {
			return &MismatchError{fmt.Sprint("number of tensors of ", s.Op, " ", s.Name), fmt.Sprint(x), fmt.Sprint(y)}
		}
		for k, p := range s.Params {
			for x, axis := range p.Axes {
				fixed := axis == graph.Fixed || axis == graph.Out && s.Flow() == graph.Fix
				if fixed && p.Shape[x] != a.Params[k].Shape[x] {
					return &MismatchError{fmt.Sprintf("axis %d of tensor %q", x, p.Name), fmt.Sprint(p.Shape),
						fmt.Sprint(a.Params[k].Shape)}
				}
			}
		}
	}
	return nil
}

// sameHeads reports heads that cannot be paired: other numbers of them over as many units.
func sameHeads(src, anchor *models.Model) error {
	for i, s := range src.Graph.Nodes {
		if a := anchor.Graph.Nodes[i]; s.Heads != a.Heads && s.Units == a.Units {
			return &MismatchError{"num_attention_heads of " + s.Name, fmt.Sprint(s.Heads), fmt.Sprint(a.Heads)}
		}
	}
	return nil
}

// errNoModel reports a nil model.
var errNoModel = errors.New("the model is nil")
