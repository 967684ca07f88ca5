package report

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"math"
	"sort"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
)

// picture is a map as two images: one in the order of storage, and one with the
// rows ordered by the unit of the anchor that each gives most to.
type picture struct {
	Title, Note    string
	Stored, Sorted template.URL
	Rows, Cols     int
}

// SampleMaps takes k maps of the first other model from a fusion, evenly spaced
// over the nodes whose maps were solved.
func SampleMaps(rep *fuse.Report, k int, note string) []Map {
	var solved []Map
	for _, n := range rep.Nodes {
		if n.Source != 0 || n.Flow != graph.Solve {
			continue
		}
		if p := n.Push(); p != nil {
			solved = append(solved, Map{Title: n.Name, Note: note, Values: p})
		}
	}
	if len(solved) <= k {
		return solved
	}
	out := make([]Map, k)
	for i := range out {
		out[i] = solved[i*(len(solved)-1)/max(k-1, 1)]
	}
	return out
}

// maxPixels is the most pixels along one side of a picture; larger maps are
// pooled.
const maxPixels = 128

// ErrMap reports a matrix that cannot be painted.
var ErrMap = errors.New("the matrix is empty or has an entry that is no number")

// newPicture draws a map.
func newPicture(m Map) (picture, error) {
	if m.Values == nil {
		return picture{}, ErrMap
	}
	r, c := m.Values.Dims()
	if r == 0 || c == 0 {
		return picture{}, ErrMap
	}
	target, order, largest := make([]int, r), make([]int, r), 0.0
	for i := range r {
		order[i] = i
		for j := range c {
			v := math.Abs(m.Values.At(i, j))
			if !isFinite(v) {
				return picture{}, ErrMap
			}
			if v > math.Abs(m.Values.At(i, target[i])) {
				target[i] = j
			}
			largest = max(largest, v)
		}
	}
	out := picture{Title: strings.ReplaceAll(m.Title, ".", ".\u200b"), Note: m.Note, Rows: r, Cols: c}
	var err error
	if out.Stored, err = encodePNG(m.Values, order, largest); err != nil {
		return out, err
	}
	sort.SliceStable(order, func(a, b int) bool { return target[order[a]] < target[order[b]] })
	out.Sorted, err = encodePNG(m.Values, order, largest)
	return out, err
}

// encodePNG paints a matrix with its rows in the given order: blue for positive
// entries, orange for negative ones, the more transparent the smaller, so that
// it suits a light page and a dark one. A pixel shows the entry of largest size
// of those that it stands for.
func encodePNG(m mat.Matrix, order []int, largest float64) (template.URL, error) {
	_, cols := m.Dims()
	h, w := min(len(order), maxPixels), min(cols, maxPixels)
	img := image.NewPaletted(image.Rect(0, 0, w, h), palette())
	for y := range h {
		for x := range w {
			var v float64
			for i := y * len(order) / h; i < (y+1)*len(order)/h; i++ {
				for j := x * cols / w; j < (x+1)*cols/w; j++ {
					if e := m.At(order[i], j); math.Abs(e) > math.Abs(v) {
						v = e
					}
				}
			}
			if largest > 0 {
				v /= largest
			}
			img.SetColorIndex(x, y, uint8(math.Round(levels*(1+v))))
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, img); err != nil {
		return "", fmt.Errorf("png: %w", err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// levels is the number of shades of each sign.
const levels = 31

func palette() color.Palette {
	var p color.Palette
	for k := -levels; k <= levels; k++ {
		c := color.NRGBA{R: 0x2b, G: 0x7f, B: 0xc4, A: uint8(255 * k / levels)}
		if k < 0 {
			c = color.NRGBA{R: 0xe0, G: 0x6c, B: 0x1f, A: uint8(-255 * k / levels)}
		}
		p = append(p, c)
	}
	return p
}
