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
	end       string // marker of the end, which some programs forget; empty where it may not lack
}

// formats lists the formats that are read.
func formats() []format {
	return []format{
		{"\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode, pixelAt, ""},
		{"\xff\xd8", jpeg.DecodeConfig, jpeg.Decode, pixelAt, "\xff\xd9"},
		{"RIFF????WEBP", webp.DecodeConfig, webp.Decode, videoPixelAt, ""},
		{"GIF8", gif.DecodeConfig, gif.Decode, pixelAt, ""},
		{"BM", bmp.DecodeConfig, bmp.Decode, pixelAt, ""},
		{"II*\x00", tiff.DecodeConfig, tiff.Decode, pixelAt, ""},
		{"MM\x00*", tiff.DecodeConfig, tiff.Decode, pixelAt, ""},
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
