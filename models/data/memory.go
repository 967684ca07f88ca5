package data

import (
	"fmt"
	"image"
	"image/color"
)

// Limits on what an image may take to decode. A photograph of 24 million pixels
// takes 150 MB, or 270 MB where it is progressive.
const (
	maxArea        = 25 << 20  // pixels before the image is scaled; its sides are at most [maxSide]
	maxImageMemory = 320 << 20 // bytes
)

// check refuses an image, by its header, that would take more memory than makes
// sense or has more pixels than its file can hold.
func (f format) check(raw []byte, c image.Config) error {
	if c.Width < 1 || c.Height < 1 || c.Width > maxSide || c.Height > maxSide || c.Width > maxArea/c.Height {
		return fmt.Errorf("%w: an image of %d×%d pixels", ErrUnsafe, c.Width, c.Height)
	}
	// An image of a few blocks may have more pixels than its file promises.
	const fewPixels = 1 << 12
	if area := c.Width * c.Height; f.densest > 0 && area > fewPixels+f.densest*len(raw) {
		return fmt.Errorf("%w: an image of %d×%d pixels in %d bytes", ErrUnsafe, c.Width, c.Height, len(raw))
	}
	if need := f.memory(raw, c); need > maxImageMemory {
		return fmt.Errorf("%w: an image of %d×%d pixels that takes %d MB to decode", ErrUnsafe, c.Width, c.Height, need>>20)
	}
	return nil
}

// memory bounds the bytes that decoding an image takes: what the decoder holds, and
// the planes that are made of it.
func (f format) memory(raw []byte, c image.Config) int64 {
	const planes = 3
	return int64(c.Width) * int64(c.Height) * (planes + f.held(raw, c))
}

// decodeMemory is memory of a file whose header was not read yet. What cannot be
// decoded takes none.
func decodeMemory(raw []byte) int64 {
	f, c, err := headerOf(raw)
	if err != nil {
		return int64(len(raw))
	}
	return int64(len(raw)) + f.memory(raw, c)
}

// heldByModel returns the bytes that a pixel takes in the image that a decoder makes.
func heldByModel(_ []byte, c image.Config) int64 {
	if _, ok := c.ColorModel.(color.Palette); ok {
		return 1
	}
	switch c.ColorModel {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	}
	return 4
}

// heldByPNG is heldByModel, twice where the image is interlaced: its passes are
// images of their own.
func heldByPNG(raw []byte, c image.Config) int64 {
	const interlace = 28 // where the header says so
	if len(raw) > interlace && raw[interlace] != 0 {
		return 2 * heldByModel(raw, c)
	}
	return heldByModel(raw, c)
}

// heldByJPEG adds to the image the coefficients, which are held where it is
// progressive.
func heldByJPEG(raw []byte, _ image.Config) int64 {
	const (
		baseline    = 4    // bytes for each pixel, of four components at most
		progressive = 0xc2 // the marker of the frame
	)
	if marker, frame := frameOf(raw); marker == progressive {
		return baseline + coefficients(frame[componentsAt:])
	}
	return baseline
}

// coefficients returns the bytes that coefficients take for each pixel, given the
// components of a frame: their number, then three bytes for each, of which the second
// says how densely it is sampled.
func coefficients(frame []byte) int64 {
	const each = 4 // bytes
	var samples, most int64
	for k := 0; k < int(frame[0]) && 3*k+2 < len(frame); k++ {
		density := int64(frame[3*k+2]>>4) * int64(frame[3*k+2]&15)
		samples, most = samples+density, max(most, density)
	}
	return (each*samples + most - 1) / max(most, 1)
}

// heldBy returns a bound that holds whatever the image.
func heldBy(bytes int64) func([]byte, image.Config) int64 {
	return func([]byte, image.Config) int64 { return bytes }
}
