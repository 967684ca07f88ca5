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
	"strings"
)

const maxArea = 1 << 26 // pixels of one image before it is scaled

// rgb is an image in three planes [3, h, w].
type rgb struct {
	pix  []byte
	h, w int
}

// decode reads a JPEG or PNG image; what tells them apart is the content. Grey
// is expanded to three channels, transparency is dropped.
func decode(raw []byte) (rgb, error) {
	config, read := jpeg.DecodeConfig, jpeg.Decode
	if bytes.HasPrefix(raw, []byte("\x89PNG")) {
		config, read = png.DecodeConfig, png.Decode
	}
	c, err := config(bytes.NewReader(raw))
	if err != nil {
		return rgb{}, imageError(err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxArea/c.Height {
		return rgb{}, fmt.Errorf("%w: an image of %d×%d pixels", ErrUnsafe, c.Width, c.Height)
	}
	img, err := read(bytes.NewReader(raw))
	if err != nil {
		return rgb{}, imageError(err)
	}
	return planes(img), nil
}

func imageError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the image is truncated: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// planes copies an image out of the layouts that the decoders of the standard
// library return.
func planes(img image.Image) rgb {
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

// isImage goes by the extension, as the folders do.
func isImage(name string) bool {
	_, ext, _ := cutLast(name, ".")
	switch strings.ToLower(ext) {
	case "jpg", "jpeg", "png":
		return true
	}
	return false
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
