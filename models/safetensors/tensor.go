package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Tensor is an array in row-major order.
type Tensor struct {
	DType DType  // element type
	Shape []int  // length of every axis; empty for a scalar
	Data  []byte // little endian, DType.Size() bytes per element
}

// Len returns the number of elements. It is a [*FormatError] if dtype, shape and
// data do not fit together.
func (t Tensor) Len() (int, error) {
	if err := t.validate(); err != nil {
		return 0, malformed("", "%v", err)
	}
	return len(t.Data) / t.DType.Size(), nil
}

func (t Tensor) validate() error {
	want, err := byteLen(t.DType, t.Shape)
	if err == nil && want != int64(len(t.Data)) {
		err = fmt.Errorf("%s %v needs %d bytes of data, has %d", t.DType, t.Shape, want, len(t.Data))
	}
	return err
}

// Float32s returns the elements of an F32, F16 or BF16 tensor, exactly, or
// those of an F64 tensor, rounded to nearest even.
func (t Tensor) Float32s() ([]float32, error) {
	n, err := t.Len()
	if err != nil {
		return nil, err
	}
	var elem func(i int) float32
	switch t.DType {
	case F64:
		elem = func(i int) float32 { return float32(math.Float64frombits(t.uint64At(i))) }
	case F32: // a loop of its own is nearly twice as fast as a call for each element
		out := make([]float32, n)
		for i := range out {
			out[i] = math.Float32frombits(t.uint32At(i))
		}
		return out, nil
	case BF16:
		out := make([]float32, n)
		for i := range out {
			out[i] = bfloatToFloat(t.uint16At(i))
		}
		return out, nil
	case F16:
		elem = func(i int) float32 { return halfToFloat(t.uint16At(i)) }
	default:
		return nil, fmt.Errorf("safetensors: %s as float32: %w", t.DType, ErrDType)
	}
	return decodeElements(n, elem), nil
}

// Float64s returns the elements of an F64, F32, F16 or BF16 tensor, exactly.
func (t Tensor) Float64s() ([]float64, error) {
	n, err := t.Len()
	if err != nil {
		return nil, err
	}
	if t.DType == F64 {
		return decodeElements(n, func(i int) float64 { return math.Float64frombits(t.uint64At(i)) }), nil
	}
	v, err := t.Float32s()
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s as float64: %w", t.DType, ErrDType)
	}
	return decodeElements(n, func(i int) float64 { return float64(v[i]) }), nil
}

// Int64s returns the elements of an integer tensor, or those of a BOOL tensor
// as 0 and 1. A U64 element above the largest int64 is an [ErrRange].
func (t Tensor) Int64s() ([]int64, error) {
	n, err := t.Len()
	if err != nil {
		return nil, err
	}
	var elem func(i int) int64
	switch t.DType {
	case I64, U64:
		elem = func(i int) int64 { return int64(t.uint64At(i)) }
	case I32:
		elem = func(i int) int64 { return int64(int32(t.uint32At(i))) }
	case U32:
		elem = func(i int) int64 { return int64(t.uint32At(i)) }
	case I16:
		elem = func(i int) int64 { return int64(int16(t.uint16At(i))) }
	case U16:
		elem = func(i int) int64 { return int64(t.uint16At(i)) }
	case I8:
		elem = func(i int) int64 { return int64(int8(t.Data[i])) }
	case U8:
		elem = func(i int) int64 { return int64(t.Data[i]) }
	case Bool:
		elem = func(i int) int64 { return int64(min(t.Data[i], 1)) }
	default:
		return nil, fmt.Errorf("safetensors: %s as int64: %w", t.DType, ErrDType)
	}
	v := decodeElements(n, elem)
	if t.DType == U64 {
		if i := slices.IndexFunc(v, func(x int64) bool { return x < 0 }); i >= 0 {
			return nil, fmt.Errorf("safetensors: element %d, %d, as int64: %w", i, uint64(v[i]), ErrRange)
		}
	}
	return v, nil
}

// Int32s returns the elements of an integer tensor, or those of a BOOL tensor
// as 0 and 1. An element that an int32 cannot hold is an [ErrRange].
func (t Tensor) Int32s() ([]int32, error) {
	v, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(v, func(x int64) bool { return int64(int32(x)) != x }); i >= 0 {
		return nil, fmt.Errorf("safetensors: element %d, %d, as int32: %w", i, v[i], ErrRange)
	}
	return decodeElements(len(v), func(i int) int32 { return int32(v[i]) }), nil
}

// FromFloat32 returns a tensor of the given shape and dtype: F32 and F64 are
// exact, F16 and BF16 rounded to nearest even.
func FromFloat32(dtype DType, shape []int, data []float32) (Tensor, error) {
	var put func(b []byte, x float32) []byte
	switch dtype {
	case F64:
		put = func(b []byte, x float32) []byte {
			return binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(x)))
		}
	case F32:
		put = func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint32(b, math.Float32bits(x)) }
	case F16:
		put = func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint16(b, floatToHalf(x)) }
	case BF16:
		put = func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint16(b, floatToBfloat(x)) }
	default:
		return Tensor{}, fmt.Errorf("safetensors: float32 as %.40q: %w", string(dtype), ErrDType)
	}
	return encodeElements(dtype, shape, data, put)
}

// FromFloat64 returns an F64 tensor of the given shape.
func FromFloat64(shape []int, data []float64) (Tensor, error) {
	return encodeElements(F64, shape, data, func(b []byte, x float64) []byte {
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	})
}

// FromInt32 returns an I32 tensor of the given shape.
func FromInt32(shape []int, data []int32) (Tensor, error) {
	return encodeElements(I32, shape, data, func(b []byte, x int32) []byte {
		return binary.LittleEndian.AppendUint32(b, uint32(x))
	})
}

// FromInt64 returns an I64 tensor of the given shape.
func FromInt64(shape []int, data []int64) (Tensor, error) {
	return encodeElements(I64, shape, data, func(b []byte, x int64) []byte {
		return binary.LittleEndian.AppendUint64(b, uint64(x))
	})
}

func encodeElements[T any](dtype DType, shape []int, data []T, put func([]byte, T) []byte) (Tensor, error) {
	b := make([]byte, 0, len(data)*dtype.Size())
	for _, x := range data {
		b = put(b, x)
	}
	t := Tensor{DType: dtype, Shape: slices.Clone(shape), Data: b}
	if _, err := t.Len(); err != nil {
		return Tensor{}, err
	}
	return t, nil
}

func decodeElements[T any](n int, elem func(i int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = elem(i)
	}
	return out
}

func (t Tensor) uint16At(i int) uint16 { return binary.LittleEndian.Uint16(t.Data[2*i:]) }
func (t Tensor) uint32At(i int) uint32 { return binary.LittleEndian.Uint32(t.Data[4*i:]) }
func (t Tensor) uint64At(i int) uint64 { return binary.LittleEndian.Uint64(t.Data[8*i:]) }
