package data

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

func randomRGB(h, w int) rgb {
	rng := rand.New(rand.NewPCG(uint64(h), uint64(w)))
	m := rgb{make([]byte, 3*h*w), h, w}
	for i := range m.pix {
		m.pix[i] = byte(rng.IntN(256))
	}
	return m
}

func TestResizeToTheSameSizeIsIdentity(t *testing.T) {
	for _, m := range []rgb{randomRGB(5, 7), randomRGB(1, 1), randomRGB(16, 3)} {
		assert.Equal(t, m, m.resize(m.h, m.w))
	}
}

func TestResizeKeepsAConstant(t *testing.T) {
	for _, size := range [][4]int{
		{10, 10, 3, 3}, {3, 9, 7, 7}, {9, 3, 7, 5}, {1, 1, 8, 8}, {100, 37, 32, 32}, {5, 1000, 6, 4},
	} {
		m := rgb{make([]byte, 3*size[0]*size[1]), size[0], size[1]}
		for i := range m.pix {
			m.pix[i] = byte(50 + 100*(i/(m.h*m.w)))
		}
		out := m.resize(size[2], size[3])
		assert.Len(t, out.pix, 3*size[2]*size[3])
		for i, p := range out.pix {
			assert.Equal(t, byte(50+100*(i/(size[2]*size[3]))), p, "%v", size)
		}
	}
}

func TestShrinkingByAnIntegerIsTheMeanOfBlocks(t *testing.T) {
	m := randomRGB(12, 18)
	out := m.resize(4, 6)
	for c := range 3 {
		for y := range 4 {
			for x := range 6 {
				sum := 0
				for k := range 9 {
					sum += int(m.pix[(c*12+3*y+k/3)*18+3*x+k%3])
				}
				assert.Equal(t, byte((2*sum+9)/18), out.pix[(c*4+y)*6+x])
			}
		}
	}
}

func TestCropTakesTheMiddle(t *testing.T) {
	m := randomRGB(4, 10)
	out := m.resize(4, 6) // the height fits: no scaling, two columns off each side
	for c := range 3 {
		for y := range 4 {
			assert.Equal(t, m.pix[(c*4+y)*10+2:][:6], out.pix[(c*4+y)*6:][:6])
		}
	}
	tall := randomRGB(20, 4).resize(2, 2) // halved, then the rows 8 to 12 of the input
	middle := rgb{nil, 4, 4}
	for c := range 3 {
		middle.pix = append(middle.pix, randomRGB(20, 4).pix[c*80+8*4:][:16]...)
	}
	assert.Equal(t, middle.resize(2, 2), tall)
}

func TestGrowingInterpolates(t *testing.T) {
	m := rgb{[]byte{0, 100, 0, 100, 0, 100, 0, 100, 0, 100, 0, 100}, 2, 2}
	want := []byte{0, 25, 75, 100}
	for row := range 12 {
		assert.Equal(t, want, m.resize(4, 4).pix[row*4:][:4])
	}
}

func TestTapsSumToTheirTotal(t *testing.T) {
	for _, tc := range [][4]int{{5, 9, 5, 9}, {9, 5, 9, 5}, {3, 30, 7, 15}, {64, 500, 64, 333}, {4, 4, 1, 1}} {
		taps := newTaps(tc[0], tc[1], tc[2], tc[3])
		for i, weights := range taps.weights {
			var sum int64
			for _, w := range weights {
				assert.Positive(t, w)
				sum += w
			}
			assert.Equal(t, taps.total, sum)
			assert.GreaterOrEqual(t, taps.start[i], 0)
			assert.LessOrEqual(t, taps.start[i]+len(weights), tc[1])
		}
	}
}
