package safetensors

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFloatConversions(t *testing.T) {
	values := []float32{0, 1, -1.5, 0.25, 65504, float32(math.Inf(-1))} // exact in every type but BF16
	for _, dtype := range []DType{F64, F32, F16} {
		x, err := FromFloat32(dtype, []int{2, 3}, values)
		require.NoError(t, err)
		assert.Equal(t, dtype, x.DType)
		assert.Equal(t, []int{2, 3}, x.Shape)
		assert.Len(t, x.Data, 6*dtype.Size())
		narrow, err := x.Float32s()
		require.NoError(t, err)
		assert.Equal(t, values, narrow)
		wide, err := x.Float64s()
		require.NoError(t, err)
		for i, v := range values {
			assert.Equal(t, float64(v), wide[i], "%s", dtype)
		}
	}
}

// The bytes are those that NumPy writes for the same numbers.
func TestFloatBytes(t *testing.T) {
	for dtype, want := range map[DType][]byte{
		F64:  {0, 0, 0, 0, 0, 0, 0xf8, 0xbf},
		F32:  {0, 0, 0xc0, 0xbf},
		F16:  {0, 0xbe},
		BF16: {0xc0, 0xbf},
	} {
		x, err := FromFloat32(dtype, nil, []float32{-1.5})
		require.NoError(t, err)
		assert.Equal(t, want, x.Data, "%s", dtype)
	}
}

func TestFloat64IsRoundedToFloat32(t *testing.T) {
	in := []float64{1 + 0x1p-24, 1 + 0x1p-24 + 0x1p-50, 1 + 3*0x1p-24, 0x1p-150, 1e300, math.Pi}
	x, err := FromFloat64([]int{6}, in)
	require.NoError(t, err)
	got, err := x.Float32s()
	require.NoError(t, err)
	assert.Equal(t, []float32{1, 1 + 0x1p-23, 1 + 0x1p-22, 0, float32(math.Inf(1)), 3.14159274}, got)
	exact, err := x.Float64s()
	require.NoError(t, err)
	assert.Equal(t, in, exact)
}

func TestIntegerConversions(t *testing.T) {
	for _, c := range []struct {
		dtype DType
		data  []byte
		want  []int64
	}{
		{I64, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []int64{-2}},
		{U64, []byte{1, 2, 0, 0, 0, 0, 0, 0}, []int64{0x201}},
		{I32, []byte{0, 0, 0, 0x80}, []int64{math.MinInt32}},
		{U32, []byte{1, 0, 0, 0}, []int64{1}},
		{I16, []byte{0xff, 0xff, 1, 2}, []int64{-1, 0x201}},
		{U16, []byte{0xff, 0xff}, []int64{65535}},
		{I8, []byte{0x80, 0x7f}, []int64{-128, 127}},
		{U8, []byte{0x80}, []int64{128}},
		{Bool, []byte{0, 1, 2}, []int64{0, 1, 1}},
	} {
		x := Tensor{DType: c.dtype, Shape: []int{len(c.want)}, Data: c.data}
		got, err := x.Int64s()
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%s", c.dtype)
		short, err := x.Int32s()
		require.NoError(t, err)
		for i, v := range c.want {
			assert.EqualValues(t, v, short[i], "%s", c.dtype)
		}
	}
}

func TestIntegersRoundTrip(t *testing.T) {
	long := []int64{math.MinInt64, -1, 0, math.MaxInt64}
	x, err := FromInt64([]int{2, 2}, long)
	require.NoError(t, err)
	assert.Equal(t, I64, x.DType)
	back, err := x.Int64s()
	require.NoError(t, err)
	assert.Equal(t, long, back)

	short := []int32{math.MinInt32, 7, math.MaxInt32}
	x, err = FromInt32([]int{3, 1}, short)
	require.NoError(t, err)
	assert.Equal(t, I32, x.DType)
	got, err := x.Int32s()
	require.NoError(t, err)
	assert.Equal(t, short, got)
}

func TestIntegersOutOfRangeAreErrors(t *testing.T) {
	x, err := FromInt64([]int{2}, []int64{0, math.MaxInt32 + 1})
	require.NoError(t, err)
	_, err = x.Int32s()
	require.ErrorIs(t, err, ErrRange)
	assert.ErrorContains(t, err, "element 1, 2147483648")

	x.DType = U64
	x.Data[7] = 0x80
	_, err = x.Int64s()
	require.ErrorIs(t, err, ErrRange)
	assert.ErrorContains(t, err, "element 0, 9223372036854775808")
}

func TestConversionsRefuseOtherTypes(t *testing.T) {
	ints := Tensor{DType: I32, Shape: []int{1}, Data: make([]byte, 4)}
	_, err := ints.Float32s()
	require.ErrorIs(t, err, ErrDType)
	_, err = ints.Float64s()
	require.ErrorIs(t, err, ErrDType)
	floats := Tensor{DType: F32, Shape: []int{1}, Data: make([]byte, 4)}
	_, err = floats.Int64s()
	require.ErrorIs(t, err, ErrDType)
	_, err = floats.Int32s()
	require.ErrorIs(t, err, ErrDType)
	assert.ErrorContains(t, err, "F32")
	_, err = FromFloat32(I32, []int{1}, []float32{1})
	require.ErrorIs(t, err, ErrDType)
	_, err = FromFloat32("F128", []int{1}, []float32{1})
	require.ErrorIs(t, err, ErrDType)
}

func TestInconsistentTensorsAreFormatErrors(t *testing.T) {
	for name, x := range map[string]Tensor{
		"short":    {DType: F32, Shape: []int{2}, Data: make([]byte, 7)},
		"long":     {DType: F32, Shape: []int{2}, Data: make([]byte, 9)},
		"empty":    {DType: F32},
		"negative": {DType: F32, Shape: []int{-1}},
		"overflow": {DType: F32, Shape: []int{1 << 30, 1 << 30, 16}},
		"unknown":  {DType: "F128", Shape: []int{1}, Data: make([]byte, 16)},
		"rank":     {DType: U8, Shape: make([]int, maxRank+1)},
	} {
		var format *FormatError
		_, err := x.Len()
		assert.ErrorAs(t, err, &format, name)
		_, err = x.Float32s()
		assert.ErrorAs(t, err, &format, name)
		_, err = x.Int32s()
		assert.ErrorAs(t, err, &format, name)
	}
	_, err := FromFloat32(F32, []int{2, 2}, make([]float32, 3))
	assert.EqualError(t, err, "safetensors: F32 [2 2] needs 16 bytes of data, has 12")
}

func TestTensorsOwnTheirShape(t *testing.T) {
	shape := []int{2}
	x, err := FromInt32(shape, []int32{1, 2})
	require.NoError(t, err)
	shape[0] = 5
	n, err := x.Len()
	require.NoError(t, err)
	assert.Equal(t, 2, n)
}
