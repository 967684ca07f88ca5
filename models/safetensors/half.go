package safetensors

import "math"

// halfToFloat widens an IEEE 754 binary16. It is exact and keeps the payload
// of a NaN.
func halfToFloat(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0: // zero or subnormal: frac · 2⁻²⁴, exact in float32
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// floatToHalf rounds to the nearest binary16, ties to even. What is too large
// becomes infinite; a NaN stays one.
func floatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	exp := int(b>>23)&0xff - 127 + 15
	frac := b & 0x7fffff
	switch {
	case exp == 0xff-127+15:
		if frac == 0 {
			return sign | 0x7c00
		}
		return sign | 0x7c00 | nanPayload(uint16(frac>>13), 0x200)
	case exp >= 0x1f:
		return sign | 0x7c00
	case exp <= -11: // below half of the smallest subnormal
		return sign
	case exp <= 0: // a subnormal; a carry makes it the smallest normal number
		return sign | uint16(shiftEven(frac|0x800000, 14-exp))
	}
	// A carry out of the fraction raises the exponent, up to infinity.
	return sign | uint16(shiftEven(uint32(exp)<<23|frac, 13))
}

// bfloatToFloat widens a bfloat16, the upper half of a float32.
func bfloatToFloat(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// floatToBfloat rounds to the nearest bfloat16, ties to even.
func floatToBfloat(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	if b > 0x7f800000 {
		return sign | 0x7f80 | nanPayload(uint16(b>>16)&0x7f, 0x40)
	}
	return sign | uint16(shiftEven(b, 16))
}

// nanPayload keeps a NaN from becoming an infinity when its payload is cut.
func nanPayload(payload, quiet uint16) uint16 {
	if payload == 0 {
		return quiet
	}
	return payload
}

// shiftEven returns v / 2ⁿ rounded to the nearest integer, ties to even.
func shiftEven(v uint32, n int) uint32 {
	q := v >> n
	rest, half := v-q<<n, uint32(1)<<(n-1)
	if rest > half || rest == half && q&1 == 1 {
		q++
	}
	return q
}
