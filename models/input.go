package models

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/graph"
)

// Any is the size of an axis that may differ between batches, such as the length of
// a text.
const Any = -1

// An Input describes an array that a network reads. The first axis of the array
// counts the samples.
type Input struct {
	Name    string
	Shape   []int  // of one sample, with [Any] for sizes that vary
	Longest int    // upper limit of the sizes that vary; 0 for none
	Step    int    // the sizes that vary are multiples of it, as those of images are of a patch; 0 means 1
	Like    string // name of an earlier input that has the same shape, which then takes the place of Shape
	Below   int    // the values are integers from 0 to Below-1; 0 means finite floats

	// Default makes the array where a batch lacks it, given the array of Like.
	// It is nil for an input that every batch must have.
	Default func(like Array) Array
}

// Filled returns a Default for an [Input]: one integer everywhere.
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

// Complete checks that a batch fits the network, and returns a copy of it in which
// inputs that were left out have their defaults. The copy shares its arrays with b,
// which is not changed.
//
// Shapes, kinds and values are checked: sizes of images, ids below the vocabulary,
// finite floats, and [Labels], which must be what [Model.Labels] says.
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
	maps.Copy(out, b)
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
		var err error
		if out[Labels], err = m.checkLabels(labels, out); err != nil {
			return nil, err
		}
	}
	return out, out.check()
}

// Labels describes the [Labels] of the network: one class for each sample, or one
// for each token where every token has logits. [Ignore] is allowed besides. A network
// that puts out features takes no labels.
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

// onePerSample reports whether n has a single token for each sample, because it
// comes after a Select or a Mean.
func onePerSample(n *graph.Node) bool {
	switch n.Op {
	case graph.Select, graph.Mean:
		return true
	case graph.Prepend:
		return false
	}
	return len(n.Args) > 0 && onePerSample(n.Args[0])
}

// check reports the first way in which an array of a batch departs from the input.
func (in Input) check(a Array, b Batch) error {
	want := in.Shape
	if in.Like != "" {
		want = b[in.Like].Shape[1:]
	}
	switch {
	case in.IsFloats() && len(a.Ints) > 0:
		return fmt.Errorf("%s has shape %v of integers, want %s", in.Name, a.Shape, in.describe(want))
	case !in.IsFloats() && len(a.Floats) > 0:
		return fmt.Errorf("%s has shape %v of floats, want %s", in.Name, a.Shape, in.describe(want))
	case in.Like != "" && !slices.Equal(a.Shape, b[in.Like].Shape), !in.fits(a.Shape, want):
		return fmt.Errorf("%s has shape %v, want %s", in.Name, a.Shape, in.describe(want))
	}
	return in.checkValues(a)
}

// fits reports whether a shape is [samples, want...].
func (in Input) fits(shape, want []int) bool {
	if len(shape) != len(want)+1 {
		return false
	}
	for i, size := range shape[1:] {
		varies := want[i] == Any && size > 0 && size%max(in.Step, 1) == 0 && (in.Longest == 0 || size <= in.Longest)
		if size != want[i] && !varies {
			return false
		}
	}
	return true
}

// checkValues reports the first value that is out of range.
func (in Input) checkValues(a Array) error {
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

// finite reports whether v is neither NaN nor infinite: only then is v-v zero.
func finite(v float32) bool { return v-v == 0 }

// describe says which arrays fit an input, given the shape of a sample.
func (in Input) describe(shape []int) string {
	var b strings.Builder
	b.WriteString("[N")
	for _, size := range shape {
		if size == Any {
			b.WriteString(" T")
		} else {
			fmt.Fprintf(&b, " %d", size)
		}
	}
	if in.IsFloats() {
		b.WriteString("] of floats")
	} else {
		b.WriteString("] of integers")
	}
	if in.Longest > 0 && in.Like == "" {
		fmt.Fprintf(&b, " with T at most %d", in.Longest)
	}
	if in.Step > 1 && slices.Contains(shape, Any) {
		fmt.Fprintf(&b, " with T a multiple of %d", in.Step)
	}
	return b.String()
}
