package data

import (
	"fmt"
	"math/rand/v2"

	"github.com/otfuse/otfuse/models"
)

// Augment says how [Set.Batch] and [Set.Fill] change images at random. The zero
// value changes nothing.
type Augment struct {
	Pad  int     // pixels of mean colour around the image before a random crop of its size
	Flip float64 // probability of a horizontal mirror image, 0 to 1
}

// Batch returns the images idx and their labels as samples of a network:
// "pixel_values" [len(idx), C, H, W], normalised and augmented as [Set.Fill]
// says, and [models.Labels] [len(idx)]. Without indices the batch has no samples.
func (s *Set) Batch(idx []int, n Norm, aug Augment, rng *rand.Rand) (models.Batch, error) {
	if err := s.checkShape(); err != nil { // before memory is taken for it
		return nil, fmt.Errorf("data: %w", err)
	}
	pixels := models.Array{Shape: []int{len(idx), s.C, s.H, s.W}, Floats: make([]float32, len(idx)*s.imageLen())}
	labels := models.Array{Shape: []int{len(idx)}, Ints: make([]int32, len(idx))}
	if err := s.Fill(pixels.Floats, labels.Ints, idx, n, aug, rng); err != nil {
		return nil, err
	}
	return models.Batch{"pixel_values": pixels, models.Labels: labels}, nil
}

// Fill writes the images idx, normalised to (p/255 − mean)/std, into dst
// [len(idx), C, H, W] and their labels into labels [len(idx)]. A nil labels
// leaves them out. The same image may occur more than once in idx.
//
// rng draws the augmentation; it may be nil where aug is the zero value. A length,
// an index, a norm or an augmentation that does not fit is an error. An image that
// cannot be decoded on demand is a [*FileError] that names it. After an error
// neither dst nor labels has changed. Several goroutines may call Fill at a time.
//
//nolint:revive // a struct would only hide the six parameters
func (s *Set) Fill(dst []float32, labels []int32, idx []int, n Norm, aug Augment, rng *rand.Rand) error {
	if err := s.checkFill(dst, labels, idx); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if err := aug.check(rng); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	lut, err := n.byteTable(s.C)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	images, err := s.pixelsOf(idx)
	if err != nil {
		return err
	}
	d := s.imageLen()
	for k, i := range idx {
		if labels != nil {
			labels[k] = s.Labels[i]
		}
		s.fillOne(dst[k*d:(k+1)*d], images[k], lut, aug.drawView(rng))
	}
	return nil
}

// checkFill reports buffers and indices that do not fit the set, or each other.
func (s *Set) checkFill(dst []float32, labels []int32, idx []int) error {
	if err := s.checkShape(); err != nil {
		return err
	}
	switch {
	case len(dst) != len(idx)*s.imageLen():
		return fmt.Errorf("dst has %d values, %d images need %d", len(dst), len(idx), len(idx)*s.imageLen())
	case labels != nil && len(labels) != len(idx):
		return fmt.Errorf("labels has length %d for %d images", len(labels), len(idx))
	}
	return s.checkIndices(idx)
}

// check reports an augmentation that cannot be made.
func (a Augment) check(rng *rand.Rand) error {
	switch {
	case a.Pad < 0:
		return fmt.Errorf("negative padding %d", a.Pad)
	case !(a.Flip >= 0 && a.Flip <= 1):
		return fmt.Errorf("flip probability %v is not between 0 and 1", a.Flip)
	case a != Augment{} && rng == nil:
		return fmt.Errorf("augmentation needs a random generator")
	}
	return nil
}

// view is one outcome of an augmentation: output pixel (y, x) shows input pixel
// (y+dy, x+dx), after mirroring the output where flip is odd.
type view struct{ dy, dx, flip int }

func (a Augment) drawView(rng *rand.Rand) view {
	var v view
	if a.Pad > 0 {
		v.dy = rng.IntN(2*a.Pad+1) - a.Pad
		v.dx = rng.IntN(2*a.Pad+1) - a.Pad
	}
	if a.Flip > 0 && rng.Float64() < a.Flip {
		v.flip = 1
	}
	return v
}

func (s *Set) fillOne(dst []float32, src []byte, lut *[3][256]float32, v view) {
	area := s.H * s.W
	if v == (view{}) {
		for c := range s.C {
			mapBytes(dst[c*area:(c+1)*area], src[c*area:(c+1)*area], &lut[c])
		}
		return
	}
	// Columns [lo, hi) of an output row show input pixels; the rest is padding,
	// which the normalisation makes 0.
	lo := min(max(-v.dx, 0), s.W)
	hi := max(min(s.W-v.dx, s.W), lo)
	for c := range s.C {
		for y := range s.H {
			row := dst[c*area+y*s.W:][:s.W]
			in := y + v.dy
			if in < 0 || in >= s.H || lo == hi {
				clear(row)
				continue
			}
			clear(row[:lo])
			clear(row[hi:])
			mapBytes(row[lo:hi], src[c*area+in*s.W+lo+v.dx:][:hi-lo], &lut[c])
			if v.flip != 0 {
				mirrorRow(row)
			}
		}
	}
}

func mapBytes(dst []float32, src []byte, lut *[256]float32) {
	dst = dst[:len(src)]
	for i, p := range src {
		dst[i] = lut[p]
	}
}

func mirrorRow(row []float32) {
	for i, j := 0, len(row)-1; i < j; i, j = i+1, j-1 {
		row[i], row[j] = row[j], row[i]
	}
}
