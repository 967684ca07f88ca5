package data

import (
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// format is a file format of images.
type format struct {
	signature string // what files begin with; ? stands for any byte
	config    func(io.Reader) (image.Config, error)
	read      func(io.Reader) (image.Image, error)
	pixel     func(image.Image) pixelFunc
	held      func(raw []byte, c image.Config) int64 // bytes for each pixel that the decoder holds at most
	densest   int                                    // pixels that a byte of the file can stand for; 0 for any number
	end       string                                 // marker of the end, which may be missing; empty where it may not
}

// formats lists the formats that are read. A byte of a JPEG holds a bit each of
// eight blocks of 64 pixels. Deflate makes 1032 bytes of one, which are eight pixels
// each in black and white; LZW makes 2048.
func formats() []format {
	const deflate, blocks, lzw, bits = 8 * 1032, 8 * 64, 2048, 8
	return []format{
		{"\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode, pixelAt, heldByPNG, deflate, ""},
		{"\xff\xd8", jpeg.DecodeConfig, jpeg.Decode, pixelAt, heldByJPEG, blocks, "\xff\xd9"},
		{"RIFF????WEBP", webp.DecodeConfig, webp.Decode, videoPixelAt, heldBy(12), 0, ""},
		{"GIF8", gif.DecodeConfig, gif.Decode, pixelAt, heldBy(5), lzw, ""},
		{"BM", bmp.DecodeConfig, bmp.Decode, pixelAt, heldBy(4), bits, ""},
		{"II*\x00", tiff.DecodeConfig, tiff.Decode, pixelAt, heldBy(16), 0, ""},
		{"MM\x00*", tiff.DecodeConfig, tiff.Decode, pixelAt, heldBy(16), 0, ""},
	}
}

// formatOf recognises the format of a file, or of the truncated beginning of one.
func formatOf(raw []byte) (format, bool) {
	for _, f := range formats() {
		if isPrefix(raw, f.signature) {
			return f, true
		}
	}
	return format{}, false
}

// isPrefix reports whether the file begins with the signature, or is a truncated
// file that ends within it.
func isPrefix(raw []byte, signature string) bool {
	for i := range min(len(raw), len(signature)) {
		if signature[i] != '?' && raw[i] != signature[i] {
			return false
		}
	}
	return true
}

// isImage reports by its extension whether a file is an image of a format that is
// read.
func isImage(name string) bool {
	known := []string{".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
	return slices.Contains(known, strings.ToLower(path.Ext(name)))
}

// videoPixelAt is [pixelAt] for WebP. Its lossy images hold luma from 16 to 235
// and chroma from 16 to 240, as video does (ITU-R BT.601), where
// [image.YCbCr] means the full range of JPEG.
func videoPixelAt(img image.Image) pixelFunc {
	var m *image.YCbCr
	switch v := img.(type) {
	case *image.YCbCr:
		m = v
	case *image.NYCbCrA:
		m = &v.YCbCr
	default:
		return pixelAt(img)
	}
	return func(x, y int) (byte, byte, byte) {
		l, c := m.YOffset(x, y), m.COffset(x, y)
		luma, blue, red := 1.164*(float64(m.Y[l])-16), float64(m.Cb[c])-128, float64(m.Cr[c])-128
		return channel(luma + 1.596*red), channel(luma - 0.391*blue - 0.813*red), channel(luma + 2.018*blue)
	}
}

// channel rounds a value to the nearest byte.
func channel(v float64) byte { return byte(min(max(v+0.5, 0), 255)) }
