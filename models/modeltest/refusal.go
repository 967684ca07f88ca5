package modeltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// inputsLaw: a batch that is as declared is accepted and not changed; a batch with
// a single violation is refused.
func inputsLaw(_ context.Context, s subject, _ string) error {
	given := maps.Clone(s.batch)
	for _, in := range s.model.Inputs {
		if in.Default != nil {
			delete(given, in.Name)
		}
	}
	before := maps.Clone(given)
	if _, err := s.complete(s.model, given); err != nil {
		return fmt.Errorf("a batch without what has a default: %w", err)
	}
	if !reflect.DeepEqual(given, before) {
		return errors.New("the batch of the caller was changed")
	}
	var errs []error
	for _, in := range s.model.Inputs {
		if in.IsFloats() && slices.Contains(in.Shape, models.Any) && in.Longest == 0 && hasPositions(s.model.Graph) {
			errs = append(errs, fmt.Errorf(
				"images %s may have any size and positions are for one: give the Input a Shape or the Spec a Layout", in.Name))
		}
	}
	if !s.model.Graph.HasLogits() {
		labelled := maps.Clone(s.batch)
		labelled[models.Labels] = models.Array{Shape: []int{samples}, Ints: make([]int32, samples)}
		if _, err := s.complete(s.model, labelled); err == nil {
			errs = append(errs, errors.New("labels are accepted where there are no logits"))
		}
	}
	for _, in := range append(slices.Clone(s.model.Inputs), s.model.Labels()) {
		for what, wrong := range s.violations(in) {
			if _, err := s.complete(s.model, wrong); err == nil {
				errs = append(errs, fmt.Errorf("%s with %s is accepted", in.Name, what))
			}
		}
	}
	return errors.Join(errs...)
}

// hasPositions reports whether a table of positions is added to the tokens.
func hasPositions(g *graph.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool {
		return n.Op == graph.Add && slices.ContainsFunc(n.Args, func(a *graph.Node) bool {
			return a.Op == graph.Const || a.Op == graph.Table && len(a.Args) == 0
		})
	})
}

// violations returns batches that violate one input in one way, by what is wrong.
func (s subject) violations(in models.Input) map[string]models.Batch {
	out := map[string]models.Batch{}
	right, ok := s.batch[in.Name]
	if !ok {
		return out
	}
	put := func(what string, a models.Array) {
		b := maps.Clone(s.batch)
		b[in.Name] = a
		out[what] = b
	}
	zeros := func(shape ...int) models.Array {
		n := 1
		for _, d := range shape {
			n *= d
		}
		if in.IsFloats() {
			return models.Array{Shape: shape, Floats: make([]float32, n)}
		}
		return models.Array{Shape: shape, Ints: make([]int32, n)}
	}
	put("an axis too many", zeros(append(slices.Clone(right.Shape), 1)...))
	if len(s.batch) > 1 {
		put("a sample too many", zeros(append([]int{right.Shape[0] + 1}, right.Shape[1:]...)...))
	}
	for i := 1; i < len(right.Shape); i++ {
		shape := slices.Clone(right.Shape)
		switch free := in.Like == "" && in.Shape[i-1] == models.Any; {
		case free && in.Step > 1:
			shape[i]++
		case free && in.Longest == 0:
			continue
		case free:
			shape[i] = in.Longest + 1
		default:
			shape[i]++
		}
		put(fmt.Sprintf("shape %v", shape), zeros(shape...))
	}
	n := len(right.Floats) + len(right.Ints)
	last := func(v float64) models.Array {
		a := models.Array{Shape: right.Shape, Floats: slices.Clone(right.Floats), Ints: slices.Clone(right.Ints)}
		if in.IsFloats() {
			a.Floats[n-1] = float32(v)
		} else {
			a.Ints[n-1] = int32(v)
		}
		return a
	}
	if in.IsFloats() {
		put("integers", models.Array{Shape: right.Shape, Ints: make([]int32, n)})
		put("NaN", last(math.NaN()))
		put("an infinity", last(math.Inf(1)))
	} else {
		put("floats", models.Array{Shape: right.Shape, Floats: make([]float32, n)})
		put("a value too large", last(float64(in.Below)))
		put("a negative value", last(-1))
	}
	return out
}

// parametersLaw: parameters that do not fit the network are refused.
func parametersLaw(_ context.Context, s subject, _ string) error {
	var errs []error
	for name, right := range s.model.Params {
		refuse := func(what string, change func(p models.Params)) {
			p := maps.Clone(s.model.Params)
			change(p)
			if _, err := s.bind(s.arch, s.config, p); err == nil {
				errs = append(errs, fmt.Errorf("tensor %q with %s is accepted", name, what))
			}
		}
		refuse("a value too few", func(p models.Params) {
			p[name] = models.Tensor{Shape: right.Shape, Data: right.Data[:len(right.Data)-1]}
		})
		refuse("NaN", func(p models.Params) {
			data := slices.Clone(right.Data)
			data[len(data)-1] = float32(math.NaN())
			p[name] = models.Tensor{Shape: right.Shape, Data: data}
		})
		refuse("another shape", func(p models.Params) {
			p[name] = models.Tensor{Shape: append([]int{1, 1}, right.Shape...), Data: right.Data}
		})
		refuse("no values", func(p models.Params) { delete(p, name) })
		refuse("another name", func(p models.Params) { p[name+".other"] = right })
	}
	return errors.Join(errs...)
}
