package safetensors

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// narrow is a 16-bit float format: how it is coded, and the value of a pattern
// straight from the definition.
type narrow struct {
	name   string
	dtype  DType
	expLen int // bits of the exponent
	widen  func(uint16) float32
	round  func(float32) uint16
}

func narrowFormats() []narrow {
	return []narrow{
		{"f16", F16, 5, halfToFloat, floatToHalf},
		{"bf16", BF16, 8, bfloatToFloat, floatToBfloat},
	}
}

// value is (-1)^s · 2^(max(e,1)-bias) · (e>0 + f/2^fracLen), infinite or NaN at
// the largest e.
func (n narrow) value(bits uint16) float64 {
	fracLen := 15 - n.expLen
	bias := 1<<(n.expLen-1) - 1
	e := int(bits>>fracLen) & (1<<n.expLen - 1)
	f := float64(bits & (1<<fracLen - 1))
	sign := 1 - 2*float64(bits>>15)
	switch {
	case e == 1<<n.expLen-1 && f == 0:
		return math.Inf(int(sign))
	case e == 1<<n.expLen-1:
		return math.NaN()
	case e == 0:
		return math.Copysign(math.Ldexp(f, 1-bias-fracLen), sign)
	}
	return sign * math.Ldexp(f+math.Ldexp(1, fracLen), e-bias-fracLen)
}

func TestEveryNarrowFloatSurvivesFloat32(t *testing.T) {
	for _, n := range narrowFormats() {
		t.Run(n.name, func(t *testing.T) {
			for i := range 1 << 16 {
				bits := uint16(i)
				wide := n.widen(bits)
				want := n.value(bits)
				same := math.Float64bits(want) == math.Float64bits(float64(wide))
				if math.IsNaN(want) {
					same = math.IsNaN(float64(wide))
				}
				if !same || n.round(wide) != bits {
					t.Fatalf("%04x is %v and becomes %v, then %04x", bits, want, wide, n.round(wide))
				}
			}
		})
	}
}

// Between neighbours the nearer one is taken, and the even one half way.
func TestNarrowFloatsRoundToNearestEven(t *testing.T) {
	for _, n := range narrowFormats() {
		t.Run(n.name, func(t *testing.T) {
			inf := uint16(1<<n.expLen-1) << (15 - n.expLen)
			for low := range inf {
				high := low + 1
				above := n.value(high)
				if high == inf { // one step beyond the largest number
					above = 2*n.value(low) - n.value(low-1)
				}
				middle := float32((n.value(low) + above) / 2)
				if float64(middle) != (n.value(low)+above)/2 {
					t.Fatalf("the middle after %04x is no float32", low)
				}
				even := low + low&1
				got := []uint16{n.round(math.Nextafter32(middle, 0)), n.round(middle),
					n.round(math.Nextafter32(middle, math.MaxFloat32)), n.round(-middle)}
				if want := []uint16{low, even, high, even | 0x8000}; !slices.Equal(want, got) {
					t.Fatalf("below, at, above and minus the middle after %04x: want %04x, got %04x", low, want, got)
				}
			}
		})
	}
}

func TestNarrowFloatsAtTheEdges(t *testing.T) {
	for _, n := range narrowFormats() {
		t.Run(n.name, func(t *testing.T) {
			inf := uint16(1<<n.expLen-1) << (15 - n.expLen)
			assert.Equal(t, inf, n.round(float32(math.Inf(1))))
			assert.Equal(t, inf|0x8000, n.round(float32(math.Inf(-1))))
			assert.Equal(t, inf, n.round(math.MaxFloat32), "too large is infinite")
			assert.Equal(t, uint16(0x8000), n.round(float32(math.Copysign(0, -1))))
			assert.Equal(t, uint16(0x8000), n.round(-math.SmallestNonzeroFloat32), "too small is zero and keeps its sign")
			for _, payload := range []uint32{1, 0x400000, 0x7fffff, 0x1000} {
				for _, sign := range []uint32{0, 1 << 31} {
					got := n.round(math.Float32frombits(sign | 0x7f800000 | payload))
					assert.True(t, math.IsNaN(n.value(got)), "payload %x", payload)
					assert.Equal(t, sign != 0, got&0x8000 != 0, "payload %x", payload)
				}
			}
		})
	}
}

// The public conversions carry all patterns, NaN payloads included.
func TestNarrowTensorsRoundTripBitForBit(t *testing.T) {
	for _, n := range narrowFormats() {
		t.Run(n.name, func(t *testing.T) {
			all := Tensor{DType: n.dtype, Shape: []int{256, 256}, Data: make([]byte, 0, 2<<16)}
			for i := range 1 << 16 {
				all.Data = append(all.Data, byte(i), byte(i>>8))
			}
			wide, err := all.Float32s()
			require.NoError(t, err)
			back, err := FromFloat32(n.dtype, all.Shape, wide)
			require.NoError(t, err)
			require.Equal(t, all, back)
		})
	}
}
