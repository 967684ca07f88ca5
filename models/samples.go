package models

import (
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/models/safetensors"
)

// ReadSamples reads samples for the network from a safetensors file: every
// input under its name and, where they are there, [Labels]. Whether a tensor is
// read as floats or as integers follows from [Input.IsFloats]; any dtype of that
// kind will do. The batch comes complete and checked, as [Model.Complete] says.
//
// A tensor that is neither an input nor labels, and one that the network cannot
// read, is an error that names the file and the tensor.
func (m *Model) ReadSamples(path string) (b Batch, err error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b = Batch{}
	for _, name := range f.Names() {
		in, ok := m.Input(name)
		if name == Labels {
			in, ok = m.Labels(), true
		}
		if !ok {
			return nil, fmt.Errorf("models: %s: tensor %q is no input of %s, which reads %v",
				path, name, m.Arch.Class, m.Graph.Inputs())
		}
		t, err := f.Tensor(name)
		if err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
		a, err := arrayOf(t, in)
		if err != nil {
			return nil, fmt.Errorf("models: %s: tensor %q: %w", path, name, err)
		}
		b[name] = a
	}
	if b, err = m.completed(b); err != nil {
		return nil, fmt.Errorf("models: %s: %w", path, err)
	}
	return b, nil
}

// arrayOf reads a tensor as an input takes it. Where labels are floats, integers do as
// well.
func arrayOf(t safetensors.Tensor, in Input) (Array, error) {
	a := Array{Shape: t.Shape}
	var err error
	if !in.IsFloats() {
		a.Ints, err = t.Int32s()
		return a, err
	}
	if a.Floats, err = t.Float32s(); err != nil && in.Name == Labels {
		whole, other := t.Int32s()
		if other != nil {
			return a, err
		}
		a.Floats, err = make([]float32, len(whole)), nil
		for i, v := range whole {
			a.Floats[i] = float32(v)
		}
	}
	return a, err
}
