// Package inputs reads the samples that programs are given in files.
package inputs

import (
	"errors"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// Read reads samples for m from a safetensors file: its inputs and, where they
// are there, labels. Of the inputs of a text model only input_ids must be
// there. Tensors that the model does not know are errors.
func Read(path string, m *models.Model) (b models.Batch, err error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b = models.Batch{}
	for _, name := range f.Names() {
		in, ok := m.Input(name)
		if name != models.Labels && !ok {
			return nil, fmt.Errorf("%s: tensor %q is no input of %s, which reads %v", path, name, m.Arch.Class, m.Graph.Inputs())
		}
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		a := models.Array{Shape: t.Shape}
		if ok && in.IsFloats() {
			a.Floats, err = t.Float32s()
		} else {
			a.Ints, err = t.Int32s()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", path, name, err)
		}
		if i := slices.IndexFunc(a.Floats, func(v float32) bool { return v-v != 0 }); i >= 0 {
			return nil, fmt.Errorf("%s: tensor %q is %v at position %d", path, name, a.Floats[i], i)
		}
		b[name] = a
	}
	if b, err = m.Complete(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}
