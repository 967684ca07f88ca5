package data

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"path"
	"strings"
)

// maxArea is the largest number of pixels of an image before it is scaled; its
// sides are at most [maxSide].
const maxArea = 25 << 20

// rgb is an image in three planes [3, h, w].
type rgb struct {
	pix  []byte
	h, w int
}

// decodeImage reads a JPEG or PNG image, whatever the extension of its file. Grey
// is expanded to three channels, transparency is dropped.
func decodeImage(raw []byte) (rgb, error) {
	var config func(io.Reader) (image.Config, error)
	var read func(io.Reader) (image.Image, error)
	switch {
	case isPrefix(raw, "\x89PNG\r\n\x1a\n"):
		config, read = png.DecodeConfig, png.Decode
	case isPrefix(raw, "\xff\xd8"):
		config, read = jpeg.DecodeConfig, jpeg.Decode
	default:
		return rgb{}, fmt.Errorf("neither a JPEG nor a PNG image: it begins with %.8q", raw)
	}
	c, err := config(bytes.NewReader(raw))
	if err != nil {
		return rgb{}, imageError(err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxSide || c.Height > maxSide || c.Width > maxArea/c.Height {
		return rgb{}, fmt.Errorf("%w: an image of %d×%d pixels", ErrUnsafe, c.Width, c.Height)
	}
	img, err := read(bytes.NewReader(raw))
	if err != nil {
		return rgb{}, imageError(err)
	}
	return planesOf(img), nil
}

// isPrefix reports whether the file begins with the signature, or is a truncated
// file that ends within it.
func isPrefix(raw []byte, signature string) bool {
	n := min(len(raw), len(signature))
	return string(raw[:n]) == signature[:n]
}

// imageError explains an unexpected end of the image.
func imageError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the image is truncated: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// planesOf copies an image out of the layouts that the decoders of the standard
// library return.
func planesOf(img image.Image) rgb {
	b := img.Bounds()
	out := rgb{make([]byte, 3*b.Dx()*b.Dy()), b.Dy(), b.Dx()}
	area := out.h * out.w
	red, green, blue := out.pix[:area], out.pix[area:2*area], out.pix[2*area:]
	at := pixelAt(img)
	k := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			red[k], green[k], blue[k] = at(x, y)
			k++
		}
	}
	return out
}

// pixelAt returns a function that reads a pixel of an image. For the common
// layouts it avoids the slow interface color.Color.
func pixelAt(img image.Image) func(x, y int) (r, g, b byte) {
	switch m := img.(type) {
	case *image.YCbCr:
		return func(x, y int) (byte, byte, byte) {
			l, c := m.YOffset(x, y), m.COffset(x, y)
			return color.YCbCrToRGB(m.Y[l], m.Cb[c], m.Cr[c])
		}
	case *image.Gray:
		return func(x, y int) (byte, byte, byte) {
			v := m.Pix[m.PixOffset(x, y)]
			return v, v, v
		}
	}
	return func(x, y int) (byte, byte, byte) {
		c, _ := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
		return c.R, c.G, c.B
	}
}

// isImage reports by its extension whether a file is a JPEG or PNG image.
func isImage(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".jpeg", ".png":
		return true
	}
	return false
}
