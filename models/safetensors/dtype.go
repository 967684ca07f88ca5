package safetensors

import (
	"fmt"
	"math"
	"math/bits"
)

// DType is the element type of a tensor, spelled as in the file.
type DType string

// The element types that a file may hold. The 8-bit floats and C64 are carried
// as raw bytes; the others can be converted to Go slices.
const (
	Bool   DType = "BOOL"
	U8     DType = "U8"
	I8     DType = "I8"
	F8E5M2 DType = "F8_E5M2"
	F8E4M3 DType = "F8_E4M3"
	F8E8M0 DType = "F8_E8M0"
	I16    DType = "I16"
	U16    DType = "U16"
	F16    DType = "F16"
	BF16   DType = "BF16"
	I32    DType = "I32"
	U32    DType = "U32"
	F32    DType = "F32"
	C64    DType = "C64"
	F64    DType = "F64"
	I64    DType = "I64"
	U64    DType = "U64"
)

// maxRank bounds the axes of a tensor; no array library has more.
const maxRank = 64

// Size returns the bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	switch d {
	case Bool, U8, I8, F8E5M2, F8E4M3, F8E8M0:
		return 1
	case I16, U16, F16, BF16:
		return 2
	case I32, U32, F32:
		return 4
	case C64, F64, I64, U64:
		return 8
	}
	return 0
}

// storageRank is the position of a dtype in the order of storage. Tensors of wider
// elements come first, so that every tensor is aligned although there are no gaps
// between them.
func (d DType) storageRank() int {
	for i, x := range [...]DType{
		U64, I64, F64, C64, F32, U32, I32, BF16, F16, U16, I16, F8E8M0, F8E4M3, F8E5M2, I8, U8, Bool,
	} {
		if x == d {
			return i
		}
	}
	return math.MaxInt
}

// byteLen returns the bytes of a tensor of the given dtype and shape.
func byteLen(d DType, shape []int) (int64, error) {
	size := d.Size()
	if size == 0 {
		return 0, fmt.Errorf("unknown dtype %.40q", string(d))
	}
	if len(shape) > maxRank {
		return 0, fmt.Errorf("%d axes, more than %d", len(shape), maxRank)
	}
	total := uint64(size)
	for i, n := range shape {
		if n < 0 {
			return 0, fmt.Errorf("shape[%d] is %d, negative", i, n)
		}
		hi, lo := bits.Mul64(total, uint64(n))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("size of %s %v overflows", d, shape)
		}
		total = lo
	}
	return int64(total), nil
}
