package models

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/otfuse/otfuse/models/safetensors"
)

// A Tensor is a dense array in row-major order. Its values are held as float32.
// DType is their type on disk; empty means F32.
type Tensor struct {
	DType safetensors.DType
	Shape []int
	Data  []float32
}

// FromSafetensors returns a tensor of floats of any width as a model holds it.
// Other dtypes are an error with [safetensors.ErrDType] in its chain.
func FromSafetensors(t safetensors.Tensor) (Tensor, error) {
	data, err := t.Float32s()
	if err != nil {
		return Tensor{}, err
	}
	return Tensor{DType: t.DType, Shape: t.Shape, Data: data}, nil
}

// ToSafetensors returns the tensor as it is stored on disk, rounded to its
// DType. One that was read from F64 is stored as F32, since its values are held
// as that.
func (t Tensor) ToSafetensors() (safetensors.Tensor, error) {
	return safetensors.FromFloat32(storedAs(t.DType), t.Shape, t.Data)
}

// storedAs returns the type that a tensor of some DType is stored as.
func storedAs(dtype safetensors.DType) safetensors.DType {
	if dtype == "" || dtype == safetensors.F64 {
		return safetensors.F32
	}
	return dtype
}

// checkStored reports a value that is not finite as it is stored: float16 ends at
// 65504.
func (t Tensor) checkStored(s safetensors.Tensor) error {
	stored := t.Data
	if s.DType != safetensors.F32 {
		var err error
		if stored, err = s.Float32s(); err != nil {
			return err
		}
	}
	if i := notFinite(stored); i >= 0 {
		return fmt.Errorf("value %d is %v, which is %v as %s", i, t.Data[i], stored[i], s.DType)
	}
	return nil
}

// Params holds the tensors of a checkpoint by name. Tensors are shared between
// models, so they must not be changed in place.
type Params map[string]Tensor

// Shapes returns the shape of every tensor.
func (p Params) Shapes() map[string][]int {
	s := make(map[string][]int, len(p))
	for name, t := range p {
		s[name] = t.Shape
	}
	return s
}

// checkLengths reports every tensor whose number of values is not that of its
// shape.
func (p Params) checkLengths() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(p)) {
		t := p[name]
		if size, ok := count(t.Shape); !ok || size != len(t.Data) {
			errs = append(errs, fmt.Errorf("tensor %q: shape %v holds %d values, got %d", name, t.Shape, size, len(t.Data)))
		}
	}
	return errors.Join(errs...)
}

// checkFinite reports the first value of each tensor that is NaN or infinite.
func (p Params) checkFinite() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if i := notFinite(p[name].Data); i >= 0 {
			errs = append(errs, fmt.Errorf("tensor %q is %v at position %d", name, p[name].Data[i], i))
		}
	}
	return errors.Join(errs...)
}

// notFinite returns the position of the first value that is NaN or infinite, -1
// where all are finite.
func notFinite(data []float32) int {
	return slices.IndexFunc(data, func(v float32) bool { return !finite(v) })
}
