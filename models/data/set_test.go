package data

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

func TestFillInvertsNorm(t *testing.T) {
	for _, shape := range [][3]int{{3, 32, 32}, {1, 5, 7}, {2, 1, 1}} {
		s := noise(9, shape[0], shape[1], shape[2])
		n := s.Norm()
		idx := []int{8, 0, 3, 3, 7}
		dst, labels := make([]float32, len(idx)*s.dim()), make([]int32, len(idx))
		require.NoError(t, s.Fill(dst, labels, idx, n, Augment{}, nil))
		area := s.H * s.W
		for k, i := range idx {
			assert.Equal(t, s.Labels[i], labels[k])
			for j := range s.dim() {
				c := j / area
				back := (dst[k*s.dim()+j]*n.Std[c] + n.Mean[c]) * 255
				require.InDelta(t, float64(s.Pixels[i*s.dim()+j]), float64(back), 1e-3)
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
	require.NoError(t, s.Fill(dst, nil, idx, s.Norm(), Augment{}, nil))
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
	assert.Equal(t, Norm{Mean: [3]float32{0.2}, Std: [3]float32{1, 1, 1}}, s.Norm())
	assert.Equal(t, Norm{Std: [3]float32{1, 1, 1}}, s.Head(0).Norm())
}

// augmented is what Fill must show for a view, pixel by pixel.
func augmented(s *Set, i int, n Norm, v view) []float32 {
	out := make([]float32, 0, s.dim())
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
		{Augment{Pad: 1}, 4, 5, 9}, {Augment{Flip: 0.5}, 3, 4, 2}, {Augment{Pad: 2, Flip: 0.5}, 6, 5, 50}, {Augment{Flip: 1}, 3, 3, 1},
		{Augment{Pad: 2}, 2, 2, 10}, // a crop that misses the image is all padding
	} {
		s := noise(2, 3, tc.h, tc.w)
		n := s.Norm()
		rng := rand.New(rand.NewPCG(3, 4))
		dst := make([]float32, s.dim())
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
		dst := make([]float32, len(idx)*s.dim())
		rng := rand.New(rand.NewPCG(seed, 0))
		require.NoError(t, s.Fill(dst, nil, idx, s.Norm(), Augment{Pad: 2, Flip: 0.5}, rng))
		return dst
	}
	assert.Equal(t, fill(7), fill(7))
	assert.NotEqual(t, fill(7), fill(8))
}

func TestFillRefuses(t *testing.T) {
	s := noise(3, 3, 2, 2)
	good := s.Norm()
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
	p := s.Pick([]int{7, 0, 7})
	d := s.dim()
	assert.Equal(t, []int32{s.Labels[7], s.Labels[0], s.Labels[7]}, p.Labels)
	assert.Equal(t, slices.Concat(s.Pixels[7*d:8*d], s.Pixels[:d], s.Pixels[7*d:8*d]), p.Pixels)
	assert.Equal(t, 0, s.Slice(7, 4).Len())
	assert.Equal(t, 2, s.Slice(-5, 2).Len())
	assert.Equal(t, 0, s.Slice(20, 30).Len())
}

func BenchmarkFill(b *testing.B) {
	s := noise(1000, 3, 32, 32)
	n := s.Norm()
	o := Sampler{N: s.Len(), Batch: 64}
	dst, labels := make([]float32, 64*s.dim()), make([]int32, 64)
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
