package data

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

// noise is a set of random images.
func noise(n, c, h, w int) *Set {
	rng := rand.New(rand.NewPCG(1, 2))
	s := &Set{Pixels: make([]byte, n*c*h*w), Labels: make([]int32, n), C: c, H: h, W: w}
	for i := range s.Pixels {
		s.Pixels[i] = byte(rng.IntN(256))
	}
	for i := range s.Labels {
		s.Labels[i] = int32(rng.IntN(7))
	}
	return s
}

// measured returns the norm of a set.
func measured(t testing.TB, s *Set) Norm {
	t.Helper()
	n, err := s.Norm()
	require.NoError(t, err)
	return n
}

func TestFillInvertsNorm(t *testing.T) {
	for _, shape := range [][3]int{{3, 32, 32}, {1, 5, 7}, {2, 1, 1}} {
		s := noise(9, shape[0], shape[1], shape[2])
		n := measured(t, s)
		idx := []int{8, 0, 3, 3, 7}
		dst, labels := make([]float32, len(idx)*s.imageLen()), make([]int32, len(idx))
		require.NoError(t, s.Fill(dst, labels, idx, n, Augment{}, nil))
		area := s.H * s.W
		for k, i := range idx {
			assert.Equal(t, s.Labels[i], labels[k])
			for j := range s.imageLen() {
				c := j / area
				back := (dst[k*s.imageLen()+j]*n.Std[c] + n.Mean[c]) * 255
				require.InDelta(t, float64(s.Pixels[i*s.imageLen()+j]), float64(back), 1e-3)
			}
		}
	}
}

func TestNormStandardises(t *testing.T) {
	s := noise(50, 3, 8, 8)
	for i := range s.Pixels { // channels of different spread
		s.Pixels[i] /= byte(1 + i/64%3)
	}
	idx := make([]int, s.Len())
	for i := range idx {
		idx[i] = i
	}
	dst := make([]float32, len(s.Pixels))
	require.NoError(t, s.Fill(dst, nil, idx, measured(t, s), Augment{}, nil))
	for c := range 3 {
		var sum, square float64
		for i := range s.Len() {
			for _, v := range dst[(i*3+c)*64:][:64] {
				sum += float64(v)
				square += float64(v) * float64(v)
			}
		}
		n := float64(s.Len() * 64)
		assert.InDelta(t, 0, sum/n, 1e-5)
		assert.InDelta(t, 1, square/n, 1e-4)
	}
}

func TestNormOfConstants(t *testing.T) {
	s := &Set{Pixels: []byte{51, 51}, Labels: []int32{0, 1}, C: 1, H: 1, W: 1}
	assert.Equal(t, Norm{Mean: [3]float32{0.2}, Std: [3]float32{1, 1, 1}}, measured(t, s))
	assert.Equal(t, Norm{Std: [3]float32{1, 1, 1}}, measured(t, s.Head(0)))
}

// augmented is what Fill must show for a view, pixel by pixel.
func augmented(s *Set, i int, n Norm, v view) []float32 {
	out := make([]float32, 0, s.imageLen())
	for c := range s.C {
		for y := range s.H {
			for x := range s.W {
				if v.flip == 1 {
					x = s.W - 1 - x
				}
				y, x := y+v.dy, x+v.dx
				if y < 0 || y >= s.H || x < 0 || x >= s.W {
					out = append(out, 0)
					continue
				}
				p := float64(s.Pixels[((i*s.C+c)*s.H+y)*s.W+x]) / 255
				out = append(out, float32((p-float64(n.Mean[c]))/float64(n.Std[c])))
			}
		}
	}
	return out
}

func TestFillAugments(t *testing.T) {
	for _, tc := range []struct {
		aug   Augment
		h, w  int
		views int
	}{
		{Augment{Pad: 1}, 4, 5, 9}, {Augment{Flip: 0.5}, 3, 4, 2},
		{Augment{Pad: 2, Flip: 0.5}, 6, 5, 50}, {Augment{Flip: 1}, 3, 3, 1},
		{Augment{Pad: 2}, 2, 2, 10}, // a crop that misses the image is all padding
	} {
		s := noise(2, 3, tc.h, tc.w)
		n := measured(t, s)
		rng := rand.New(rand.NewPCG(3, 4))
		dst := make([]float32, s.imageLen())
		seen := map[view]bool{}
		for range 1500 {
			require.NoError(t, s.Fill(dst, nil, []int{1}, n, tc.aug, rng))
			var match *view
			for dy := -tc.aug.Pad; dy <= tc.aug.Pad && match == nil; dy++ {
				for dx := -tc.aug.Pad; dx <= tc.aug.Pad && match == nil; dx++ {
					for flip := range 2 {
						v := view{dy, dx, flip}
						if assert.ObjectsAreEqual(augmented(s, 1, n, v), dst) {
							match = &v
							break
						}
					}
				}
			}
			require.NotNil(t, match, "no crop of the image: %v", tc)
			seen[*match] = true
		}
		assert.Len(t, seen, tc.views, "%v", tc.aug)
	}
}

func TestFillIsSeeded(t *testing.T) {
	s := noise(20, 3, 8, 8)
	idx := []int{1, 5, 9, 13}
	fill := func(seed uint64) []float32 {
		dst := make([]float32, len(idx)*s.imageLen())
		rng := rand.New(rand.NewPCG(seed, 0))
		require.NoError(t, s.Fill(dst, nil, idx, measured(t, s), Augment{Pad: 2, Flip: 0.5}, rng))
		return dst
	}
	first := fill(7)
	assert.Equal(t, first, fill(7))
	assert.NotEqual(t, first, fill(8))
}

func TestFillRefuses(t *testing.T) {
	s := noise(3, 3, 2, 2)
	good := measured(t, s)
	zero := good
	zero.Std[1] = 0
	nan := good
	nan.Mean[2] = float32(math.NaN())
	short := *s
	short.Pixels = s.Pixels[1:]
	rng := rand.New(rand.NewPCG(1, 1))
	for name, tc := range map[string]struct {
		s    *Set
		dst  int
		l    int
		idx  []int
		n    Norm
		aug  Augment
		rng  *rand.Rand
		want string
	}{
		"short dst":         {s, 11, 1, []int{0}, good, Augment{}, nil, "dst has 11 values, 1 images need 12"},
		"short labels":      {s, 24, 1, []int{0, 1}, good, Augment{}, nil, "labels has length 1"},
		"index":             {s, 24, 2, []int{0, 3}, good, Augment{}, nil, "idx[1] = 3"},
		"negative index":    {s, 12, 1, []int{-1}, good, Augment{}, nil, "idx[0] = -1"},
		"zero deviation":    {s, 12, 1, []int{0}, zero, Augment{}, nil, "channel 1"},
		"mean is NaN":       {s, 12, 1, []int{0}, nan, Augment{}, nil, "channel 2"},
		"no generator":      {s, 12, 1, []int{0}, good, Augment{Flip: 0.5}, nil, "random generator"},
		"negative padding":  {s, 12, 1, []int{0}, good, Augment{Pad: -1}, rng, "negative padding"},
		"flip is NaN":       {s, 12, 1, []int{0}, good, Augment{Flip: math.NaN()}, rng, "flip probability"},
		"pixels missing":    {&short, 12, 1, []int{0}, good, Augment{}, nil, "35 bytes of pixels"},
		"an empty set":      {&Set{}, 0, 0, nil, good, Augment{}, nil, "has no images"},
		"too many channels": {noise(1, 4, 2, 2), 16, 1, []int{0}, good, Augment{}, nil, "[4, 2, 2]"},
	} {
		dst, labels := make([]float32, tc.dst), make([]int32, tc.l)
		err := tc.s.Fill(dst, labels, tc.idx, tc.n, tc.aug, tc.rng)
		require.ErrorContains(t, err, tc.want, name)
		assert.Equal(t, make([]float32, tc.dst), dst, name)
	}
}

// TestInconsistentSets: a set whose fields contradict each other gives errors
// and never a panic.
func TestInconsistentSets(t *testing.T) {
	good := noise(3, 3, 2, 2)
	require.NoError(t, good.Check())
	for want, spoil := range map[string]func(*Set){
		"35 bytes of pixels for 3 images of 12":   func(s *Set) { s.Pixels = s.Pixels[1:] },
		"0 bytes of pixels":                       func(s *Set) { s.Pixels = nil },
		"36 bytes of pixels for 2 images":         func(s *Set) { s.Labels = s.Labels[1:] },
		"shape [0, 2, 2] has no images":           func(s *Set) { s.C = 0 },
		"shape [4, 2, 2] has no images":           func(s *Set) { s.C = 4 },
		"shape [3, -2, 2] has no images":          func(s *Set) { s.H = -2 },
		"shape [3, 2, 4294967296] has no images":  func(s *Set) { s.W = 1 << 32 },
		"36 bytes of pixels for 3 images of 3072": func(s *Set) { s.H, s.W = 32, 32 },
	} {
		s := *good
		spoil(&s)
		_, normErr := s.Norm()
		_, pickErr := s.Pick([]int{1})
		_, batchErr := s.Batch([]int{1}, Norm{Std: [3]float32{1, 1, 1}}, Augment{}, nil)
		for _, err := range []error{s.Check(), normErr, pickErr, batchErr, s.Fill(nil, nil, nil, Norm{}, Augment{}, nil)} {
			require.ErrorContains(t, err, "data: ")
			require.ErrorContains(t, err, want)
		}
		for _, v := range []*Set{s.Slice(1, 3), s.Head(2), s.Slice(-9, 99)} {
			assert.LessOrEqual(t, v.Len(), 3)
		}
	}
	labelled := *good
	labelled.Labels, labelled.Classes = []int32{0, 1, 2}, []string{"a", "b"}
	require.EqualError(t, labelled.Check(), "data: label 2 of image 2 is not among the 2 classes")
	_, err := good.Pick([]int{0, 3})
	require.EqualError(t, err, "data: idx[1] = 3 is outside the set of 3 images")
}

// TestBatch: a batch holds what Fill writes, with its shapes.
func TestBatch(t *testing.T) {
	s := noise(5, 3, 4, 2)
	n, aug := measured(t, s), Augment{Pad: 1, Flip: 0.5}
	idx := []int{4, 0, 4}
	x, y := make([]float32, 3*s.imageLen()), make([]int32, 3)
	require.NoError(t, s.Fill(x, y, idx, n, aug, rand.New(rand.NewPCG(1, 2))))
	b, err := s.Batch(idx, n, aug, rand.New(rand.NewPCG(1, 2)))
	require.NoError(t, err)
	require.NoError(t, b.Check())
	assert.Equal(t, models.Batch{
		"pixel_values": {Shape: []int{3, 3, 4, 2}, Floats: x},
		models.Labels:  {Shape: []int{3}, Ints: y},
	}, b)
	none, err := s.Batch(nil, n, Augment{}, nil)
	require.NoError(t, err)
	require.NoError(t, none.Check())
	assert.Zero(t, none.Len())
	_, err = s.Batch([]int{5}, n, Augment{}, nil)
	require.ErrorContains(t, err, "idx[0] = 5")
}

func TestSliceIsAView(t *testing.T) {
	s := noise(10, 3, 2, 2)
	v := s.Slice(3, 6)
	assert.Equal(t, 3, v.Len())
	assert.Equal(t, s.Labels[3:6], v.Labels)
	assert.Equal(t, s.Pixels[36:72], v.Pixels)
	v.Pixels[0]++
	assert.Equal(t, v.Pixels[0], s.Pixels[36])
	_ = append(v.Pixels, 1, 2, 3) // must not reach into the set
	assert.Equal(t, noise(10, 3, 2, 2).Pixels[72:], s.Pixels[72:])
	assert.Equal(t, 10, s.Head(99).Len())
	p, err := s.Pick([]int{7, 0, 7})
	require.NoError(t, err)
	d := s.imageLen()
	assert.Equal(t, []int32{s.Labels[7], s.Labels[0], s.Labels[7]}, p.Labels)
	assert.Equal(t, slices.Concat(s.Pixels[7*d:8*d], s.Pixels[:d], s.Pixels[7*d:8*d]), p.Pixels)
	assert.Equal(t, 0, s.Slice(7, 4).Len())
	assert.Equal(t, 2, s.Slice(-5, 2).Len())
	assert.Equal(t, 0, s.Slice(20, 30).Len())
}

func BenchmarkFill(b *testing.B) {
	s := noise(1000, 3, 32, 32)
	n := measured(b, s)
	o := Sampler{N: s.Len(), Batch: 64}
	dst, labels := make([]float32, 64*s.imageLen()), make([]int32, 64)
	for name, aug := range map[string]Augment{"plain": {}, "augmented": {Pad: 4, Flip: 0.5}} {
		b.Run(name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			for i := 0; b.Loop(); i++ {
				if err := s.Fill(dst, labels, o.Indices(i), n, aug, rng); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
