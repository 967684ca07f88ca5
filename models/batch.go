package models

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// Labels is the name under which a [Batch] holds the labels: [N], or [N, T]
// with [Ignore] where no loss counts. Those of a causal language model are the tokens
// themselves; [Spec.Targets] shifts them.
const Labels = "labels"

// Ignore is the label of a position without a loss.
const Ignore = -100

// An Array is a dense input of a model in row-major order: floats or integers.
type Array struct {
	Shape  []int
	Floats []float32 // nil for an array of integers
	Ints   []int32   // nil for an array of floats
}

// A Batch holds samples by the names of the inputs they are for; the first
// axis of every array counts the samples.
type Batch map[string]Array

// Len returns the number of samples.
func (b Batch) Len() int {
	for _, a := range b {
		if len(a.Shape) > 0 {
			return a.Shape[0]
		}
	}
	return 0
}

// Check reports an array whose number of values is not that of its shape, or whose
// number of samples is not that of the others.
func (b Batch) Check() error {
	if err := b.check(); err != nil {
		return fmt.Errorf("models: %w", err)
	}
	return nil
}

// check is Check with an error that does not name the package yet.
func (b Batch) check() error {
	names := slices.Sorted(maps.Keys(b))
	for _, name := range names {
		a := b[name]
		size, ok := count(a.Shape)
		if !ok || len(a.Shape) == 0 {
			return fmt.Errorf("%s has shape %v", name, a.Shape)
		}
		if len(a.Floats) > 0 && len(a.Ints) > 0 {
			return fmt.Errorf("%s holds floats and integers", name)
		}
		if len(a.Floats)+len(a.Ints) != size {
			return fmt.Errorf("%s: shape %v holds %d values, got %d", name, a.Shape, size, len(a.Floats)+len(a.Ints))
		}
		if first := names[0]; a.Shape[0] != b[first].Shape[0] {
			return fmt.Errorf("%s has %d samples, %s has %d", name, a.Shape[0], first, b[first].Shape[0])
		}
	}
	return nil
}

// count returns the number of values of a shape, and whether it is a number at all:
// no size is negative and an int holds the product.
func count(shape []int) (int, bool) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// row returns the number of values of one sample.
func (a Array) row() int {
	n, _ := count(a.Shape[1:])
	return n
}

// Slice returns the samples from, from+1, …, to-1; the data is shared. Bounds
// outside the batch are moved to its ends.
func (b Batch) Slice(from, to int) Batch {
	from = min(max(from, 0), b.Len())
	to = min(max(to, from), b.Len())
	out := make(Batch, len(b))
	for name, a := range b {
		row := a.row()
		s := Array{Shape: slices.Clone(a.Shape)}
		s.Shape[0] = to - from
		if a.Floats != nil {
			s.Floats = a.Floats[from*row : to*row]
		} else {
			s.Ints = a.Ints[from*row : to*row]
		}
		out[name] = s
	}
	return out
}

// Pad returns b with its last sample repeated until there are n samples. The labels
// of the copies are [Ignore], so that they count in no loss.
func (b Batch) Pad(n int) Batch {
	have := b.Len()
	if have >= n || have == 0 {
		return b
	}
	out := make(Batch, len(b))
	for name, a := range b {
		row := a.row()
		s := Array{Shape: slices.Clone(a.Shape), Floats: slices.Clone(a.Floats), Ints: slices.Clone(a.Ints)}
		s.Shape[0] = n
		for range n - have {
			switch {
			case a.Floats != nil:
				s.Floats = append(s.Floats, a.Floats[(have-1)*row:]...)
			case name == Labels:
				s.Ints = append(s.Ints, slices.Repeat([]int32{Ignore}, row)...)
			default:
				s.Ints = append(s.Ints, a.Ints[(have-1)*row:]...)
			}
		}
		out[name] = s
	}
	return out
}

// Pick returns copies of the samples at the given indices.
func (b Batch) Pick(idx []int) Batch {
	out := make(Batch, len(b))
	for name, a := range b {
		row := a.row()
		s := Array{Shape: slices.Clone(a.Shape)}
		s.Shape[0] = len(idx)
		if a.Floats != nil {
			s.Floats = make([]float32, 0, len(idx)*row)
		} else {
			s.Ints = make([]int32, 0, len(idx)*row)
		}
		for _, i := range idx {
			if a.Floats != nil {
				s.Floats = append(s.Floats, a.Floats[i*row:(i+1)*row]...)
			} else {
				s.Ints = append(s.Ints, a.Ints[i*row:(i+1)*row]...)
			}
		}
		out[name] = s
	}
	return out
}
