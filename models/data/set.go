package data

import "fmt"

// Set is a labelled set of images of one size.
//
// A set may be built by hand; [Set.Check] reports whether its fields agree. A set
// from a reader owns its slices; [Set.Head] and [Set.Slice] return views of them.
// The images of a set that is larger than [Options].Memory are not held in memory:
// [Set.Batch] decodes them.
type Set struct {
	Pixels  []byte  // [N, C, H, W], 0 to 255; nil where images are decoded on demand
	Labels  []int32 // [N], indices into Classes
	C, H, W int
	Classes []string

	stream *stream  // nil where Pixels holds the images
	names  []string // [N], of the files of a stream
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
	// An inconsistent set may have fewer pixels than its labels need.
	d, have := max(s.imageLen(), 0), len(s.Pixels)
	first, last := min(from*d, have), min(to*d, have)
	v.Pixels = s.Pixels[first:last:last]
	return &v
}

// Pick returns the images idx as a set of their own. An index outside the set is
// an error.
func (s *Set) Pick(idx []int) (*Set, error) {
	if err := s.checkShape(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if err := s.checkIndices(idx); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	v := *s
	v.Pixels, v.Labels, v.names = nil, make([]int32, len(idx)), nil
	d := s.imageLen()
	for k, i := range idx {
		v.Labels[k] = s.Labels[i]
		if s.stream != nil {
			v.names = append(v.names, s.names[i])
		} else {
			v.Pixels = append(v.Pixels, s.Pixels[i*d:(i+1)*d]...)
		}
	}
	return &v, nil
}

// imageLen is the number of bytes of one image.
func (s *Set) imageLen() int { return s.C * s.H * s.W }

// bytes is the number of bytes of all images.
func (s *Set) bytes() int64 { return int64(s.Len()) * int64(s.imageLen()) }

// maxSide is the largest height and width of images in pixels.
const maxSide = 1 << 14

// Check reports fields that contradict each other: a number of channels other
// than 1 to 3, sizes below 1 or above 16384, pixels that are not C·H·W for each
// label, and labels that name no class where there are Classes.
func (s *Set) Check() error {
	if err := s.checkShape(); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	for i, label := range s.Labels {
		if len(s.Classes) > 0 && (label < 0 || int(label) >= len(s.Classes)) {
			return fmt.Errorf("data: label %d of image %d is not among the %d classes", label, i, len(s.Classes))
		}
	}
	return nil
}

// checkShape reports a shape that images cannot have, and pixels that do not fit
// it.
func (s *Set) checkShape() error {
	switch {
	case s.C < 1 || s.C > 3 || s.H < 1 || s.W < 1 || s.H > maxSide || s.W > maxSide:
		return fmt.Errorf("a set of shape [%d, %d, %d] has no images", s.C, s.H, s.W)
	case s.stream == nil && int64(len(s.Pixels)) != s.bytes():
		return fmt.Errorf("the set has %d bytes of pixels for %d images of %d", len(s.Pixels), s.Len(), s.imageLen())
	}
	return nil
}

// checkIndices reports an image that the set does not have.
func (s *Set) checkIndices(idx []int) error {
	for k, i := range idx {
		if i < 0 || i >= s.Len() {
			return fmt.Errorf("idx[%d] = %d is outside the set of %d images", k, i, s.Len())
		}
	}
	return nil
}
