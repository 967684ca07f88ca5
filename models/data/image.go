package data

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"
	"strings"
)

// rgb is an image in three planes [3, h, w].
type rgb struct {
	pix  []byte
	h, w int
}

// decodeImage reads a JPEG, PNG, WebP, BMP, GIF or TIFF image, whatever the
// extension of its file; of several frames it reads the first. Grey is expanded to
// three channels, transparency is dropped.
func decodeImage(raw []byte) (rgb, error) {
	f, c, err := headerOf(raw)
	if err != nil {
		return rgb{}, err
	}
	if err := f.check(raw, c); err != nil {
		return rgb{}, err
	}
	img, err := f.read(bytes.NewReader(raw))
	if errors.Is(err, io.ErrUnexpectedEOF) && f.end != "" {
		// A file that lacks nothing but its end marker is whole.
		img, err = f.read(strings.NewReader(string(raw) + f.end))
	}
	if err != nil {
		return rgb{}, imageError(raw, err)
	}
	if size := img.Bounds().Size(); size != (image.Point{X: c.Width, Y: c.Height}) { // a frame of a larger GIF
		whole := image.NewNRGBA(image.Rect(0, 0, c.Width, c.Height))
		draw.Draw(whole, img.Bounds(), img, img.Bounds().Min, draw.Src)
		img = whole
	}
	return planesOf(img, f.pixel), nil
}

// headerOf recognises a file and reads the header of the image.
func headerOf(raw []byte) (format, image.Config, error) {
	f, ok := formatOf(raw)
	if !ok {
		return f, image.Config{},
			fmt.Errorf("neither a JPEG nor a PNG image, nor WebP, BMP, GIF or TIFF: it begins with %.8q", raw)
	}
	c, err := f.config(bytes.NewReader(raw))
	if err != nil {
		return f, c, imageError(raw, err)
	}
	return f, c, nil
}

// imageError explains an unexpected end of the image, and says what to do about a
// form that Go's decoders do not know.
func imageError(raw []byte, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the image is truncated: %w", io.ErrUnexpectedEOF)
	}
	if errors.As(err, new(jpeg.UnsupportedError)) {
		return fmt.Errorf("%w; the image may be whole, but in a form of JPEG that is not read here%s", err, adviceOnJPEG(raw))
	}
	return err
}

// planesOf copies an image out of the layouts that the decoders of the standard
// library return.
func planesOf(img image.Image, pixelOf func(image.Image) pixelFunc) rgb {
	b := img.Bounds()
	out := rgb{make([]byte, 3*b.Dx()*b.Dy()), b.Dy(), b.Dx()}
	area := out.h * out.w
	red, green, blue := out.pix[:area], out.pix[area:2*area], out.pix[2*area:]
	at := pixelOf(img)
	k := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			red[k], green[k], blue[k] = at(x, y)
			k++
		}
	}
	return out
}

// A pixelFunc returns the pixel of an image at (x, y).
type pixelFunc func(x, y int) (r, g, b byte)

// pixelAt returns a function that reads a pixel of an image. For the common
// layouts it avoids the slow interface color.Color.
func pixelAt(img image.Image) pixelFunc {
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
