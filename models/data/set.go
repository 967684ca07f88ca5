package data

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Set is a labelled set of images of one size.
//
// A set that a reader returned owns its slices; [Set.Head] and [Set.Slice]
// return views of them. The images of a set that is larger than
// [Options].Memory are not held but decoded by [Set.Fill].
type Set struct {
	Pixels  []byte  // [N, C, H, W], 0 to 255; nil where images are decoded on demand
	Labels  []int32 // [N], indices into Classes
	C, H, W int
	Classes []string

	stream *stream  // nil where Pixels holds the images
	names  []string // [N], of the files of a stream
}

// Norm is the mean and the standard deviation of every channel, on the scale
// where a black pixel is 0 and a white one 1.
type Norm struct {
	Mean [3]float32 `json:"mean"`
	Std  [3]float32 `json:"std"`
}

// Augment says how [Set.Fill] changes the images of a batch at random. The
// zero value changes nothing.
type Augment struct {
	Pad  int     // pixels of mean colour put around the image before a random crop back to its size
	Flip float64 // probability of a horizontal mirror image, 0 to 1
}

// Len returns the number of images N.
func (s *Set) Len() int { return len(s.Labels) }

// Head returns a view of the first n images, or of all where there are fewer.
func (s *Set) Head(n int) *Set { return s.Slice(0, n) }

// Slice returns a view of the images from, from+1, …, to-1. Bounds outside the
// set are moved to its ends.
func (s *Set) Slice(from, to int) *Set {
	from = min(max(from, 0), s.Len())
	to = min(max(to, from), s.Len())
	v := *s
	v.Labels = s.Labels[from:to:to]
	if s.stream != nil {
		v.names = s.names[from:to:to]
		return &v
	}
	d := s.dim()
	v.Pixels = s.Pixels[from*d : to*d : to*d]
	return &v
}

// Pick returns the images idx as a set of their own. An index outside the set
// panics, as that of a slice does.
func (s *Set) Pick(idx []int) *Set {
	v := *s
	v.Pixels, v.Labels, v.names = nil, make([]int32, len(idx)), nil
	d := s.dim()
	for k, i := range idx {
		v.Labels[k] = s.Labels[i]
		if s.stream != nil {
			v.names = append(v.names, s.names[i])
		} else {
			v.Pixels = append(v.Pixels, s.Pixels[i*d:(i+1)*d]...)
		}
	}
	return &v
}

// Norm measures the mean and the standard deviation over all pixels of every
// channel. A channel that does not vary, and every channel of an empty set,
// has Std 1. The sums are integers: the result is the same on every machine.
// Of sets that are decoded on demand, and of their views, it is what was measured
// when they were opened, on 1024 images evenly spaced over the training set.
func (s *Set) Norm() Norm {
	if s.stream != nil {
		return s.stream.norm
	}
	var sums moments
	d := s.dim()
	for i := range s.Len() {
		sums.add(s.Pixels[i*d:(i+1)*d], s.C)
	}
	return sums.norm()
}

// moments are the sums of the pixels of every channel and of their squares.
type moments struct {
	count       int // pixels of a channel
	sum, square [3]uint64
}

// add adds the pixels [channels, H, W] of an image.
func (m *moments) add(pix []byte, channels int) {
	area := len(pix) / channels
	m.count += area
	for c := range min(channels, len(m.sum)) {
		for _, p := range pix[c*area : (c+1)*area] {
			m.sum[c] += uint64(p)
			m.square[c] += uint64(p) * uint64(p)
		}
	}
}

func (m *moments) norm() Norm {
	n := Norm{Std: [3]float32{1, 1, 1}}
	if m.count == 0 {
		return n
	}
	count := float64(m.count)
	for c := range m.sum {
		mean := float64(m.sum[c]) / count
		n.Mean[c] = float32(mean / 255)
		if std := math.Sqrt(max(0, float64(m.square[c])/count-mean*mean)); std > 0 {
			n.Std[c] = float32(std / 255)
		}
	}
	return n
}

// Fill writes the images idx, normalised to (p/255 − mean)/std, into dst
// [len(idx), C, H, W] and their labels into labels [len(idx)]. A nil labels
// leaves them out. The same image may occur more than once in idx.
//
// rng drives aug; it may be nil when aug is the zero value. A length, an
// index, a norm or an augmentation that does not fit is an error, and so is an
// image that cannot be decoded on demand, a [*FileError] that names it; then
// neither dst nor labels has been written. Several goroutines may fill at a
// time.
//
//nolint:revive // where to, what and how: a struct would only hide the six
func (s *Set) Fill(dst []float32, labels []int32, idx []int, n Norm, aug Augment, rng *rand.Rand) error {
	if err := s.checkFill(dst, labels, idx, aug, rng); err != nil {
		return err
	}
	lut, err := n.table(s.C)
	if err != nil {
		return err
	}
	images, err := s.images(idx)
	if err != nil {
		return err
	}
	d := s.dim()
	for k, i := range idx {
		if labels != nil {
			labels[k] = s.Labels[i]
		}
		s.fillOne(dst[k*d:(k+1)*d], images[k], lut, aug.draw(rng))
	}
	return nil
}

// dim is the number of bytes of one image.
func (s *Set) dim() int { return s.C * s.H * s.W }

// bytes is the number of bytes of all images.
func (s *Set) bytes() int64 { return int64(s.Len()) * int64(s.dim()) }

func (s *Set) checkFill(dst []float32, labels []int32, idx []int, aug Augment, rng *rand.Rand) error {
	switch {
	case s.C < 1 || s.C > 3 || s.H < 1 || s.W < 1:
		return fmt.Errorf("data: fill: a set of shape [%d, %d, %d] has no images", s.C, s.H, s.W)
	case s.stream == nil && len(s.Pixels) != len(s.Labels)*s.dim():
		return fmt.Errorf("data: fill: the set has %d bytes of pixels for %d images of %d", len(s.Pixels), len(s.Labels), s.dim())
	case len(dst) != len(idx)*s.dim():
		return fmt.Errorf("data: fill: dst has %d values, %d images need %d", len(dst), len(idx), len(idx)*s.dim())
	case labels != nil && len(labels) != len(idx):
		return fmt.Errorf("data: fill: labels has length %d for %d images", len(labels), len(idx))
	case aug.Pad < 0:
		return fmt.Errorf("data: fill: negative padding %d", aug.Pad)
	case !(aug.Flip >= 0 && aug.Flip <= 1):
		return fmt.Errorf("data: fill: flip probability %v is not between 0 and 1", aug.Flip)
	case aug != Augment{} && rng == nil:
		return fmt.Errorf("data: fill: augmentation needs a random generator")
	}
	for k, i := range idx {
		if i < 0 || i >= s.Len() {
			return fmt.Errorf("data: fill: idx[%d] = %d is outside the set of %d images", k, i, s.Len())
		}
	}
	return nil
}

// table lists the normalised value of every byte, per channel.
func (n Norm) table(channels int) (*[3][256]float32, error) {
	var lut [3][256]float32
	for c := range channels {
		mean, std := float64(n.Mean[c]), float64(n.Std[c])
		if !(std > 0) || math.IsInf(std, 0) || math.IsNaN(mean) || math.IsInf(mean, 0) {
			return nil, fmt.Errorf("data: fill: channel %d has mean %v and standard deviation %v", c, mean, std)
		}
		for p := range lut[c] {
			lut[c][p] = float32((float64(p)/255 - mean) / std)
		}
	}
	return &lut, nil
}

// view is one outcome of an augmentation: output pixel (y, x) shows input pixel
// (y+dy, x+dx), after mirroring the output where flip is odd.
type view struct{ dy, dx, flip int }

func (a Augment) draw(rng *rand.Rand) view {
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
				mirror(row)
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

func mirror(row []float32) {
	for i, j := 0, len(row)-1; i < j; i, j = i+1, j-1 {
		row[i], row[j] = row[j], row[i]
	}
}
