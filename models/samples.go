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
		if name != Labels && !ok {
			return nil, fmt.Errorf("models: %s: tensor %q is no input of %s, which reads %v",
				path, name, m.Arch.Class, m.Graph.Inputs())
		}
		t, err := f.Tensor(name)
		if err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
		a := Array{Shape: t.Shape}
		if ok && in.IsFloats() {
			a.Floats, err = t.Float32s()
		} else {
			a.Ints, err = t.Int32s()
		}
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
