package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShapesAreDeterministic(t *testing.T) {
	s := Shapes(95, 7)
	previous := runtime.GOMAXPROCS(1)
	again := Shapes(95, 7)
	runtime.GOMAXPROCS(previous)
	assert.Equal(t, s, again)
	assert.Equal(t, s.Head(33).Pixels, Shapes(33, 7).Pixels, "a smaller set is a prefix")
	assert.Equal(t, s.Head(33).Labels, Shapes(33, 7).Labels)
	other := Shapes(95, 8)
	assert.NotEqual(t, s.Labels, other.Labels)
	assert.NotEqual(t, s.Pixels, other.Pixels)
	assert.Zero(t, Shapes(0, 1).Len())
	assert.Zero(t, Shapes(-1, 1).Len())
}

// Models are trained on these bytes: they must not change from one version or
// one machine to the next.
func TestShapesArePinned(t *testing.T) {
	s := Shapes(200, 1)
	h := sha256.New()
	h.Write(s.Pixels)
	for _, l := range s.Labels {
		h.Write([]byte{byte(l)})
	}
	assert.Equal(t, "9bc70d60c1823ca8d4e89e397785ef0b7c690a28116d7e96682414085426e155", hex.EncodeToString(h.Sum(nil)))
}

func TestShapesAreBalanced(t *testing.T) {
	s := Shapes(100, 3)
	require.Len(t, s.Classes, 10)
	for from := 0; from < s.Len(); from += 10 {
		block := slices.Clone(s.Labels[from : from+10])
		slices.Sort(block)
		assert.Equal(t, []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, block)
	}
}

// area is the share of the square around a form that it covers.
func area(f form, t *sineTable) float64 {
	hits, n := 0, 0
	for u := -2 * unit; u <= 2*unit; u += 16 {
		for v := -2 * unit; v <= 2*unit; v += 16 {
			n++
			if f.inside(u, v, t) {
				hits++
			}
		}
	}
	return float64(hits) / float64(n) * 16
}

// The forms have the areas, in units of the radius squared, that geometry
// gives them.
func TestFormAreas(t *testing.T) {
	sine := newSine()
	halfChord := math.Sqrt(1.25)
	want := map[string]float64{
		"disk":     math.Pi,
		"half":     math.Pi / 2 * halfChord * halfChord,
		"square":   4 * 0.875 * 0.875,
		"triangle": 3 * math.Sqrt(3) * 0.36,
		"cross":    4*0.6 - 4*0.3*0.3,
		"star":     5*0.16*math.Tan(math.Pi/5) + 5*0.16*math.Tan(math.Pi/5)*math.Tan(math.Pi/5)*math.Tan(2*math.Pi/5),
		"ring":     0.7 * math.Pi,
	}
	for _, f := range shapeForms() {
		got := area(f, sine)
		if w, ok := want[f.name]; ok {
			assert.InEpsilon(t, w, got, 0.02, f.name)
			continue
		}
		assert.Greater(t, got, 1.2, f.name)
		assert.Less(t, got, 2.2, f.name)
	}
}

// No form reaches farther than the part of the canvas that paint looks at.
func TestFormsAreBounded(t *testing.T) {
	sine := newSine()
	for _, f := range shapeForms() {
		for u := -2 * unit; u <= 2*unit; u += 8 {
			for v := -2 * unit; v <= 2*unit; v += 8 {
				if u*u+v*v > farthest*farthest && f.inside(u, v, sine) {
					t.Fatalf("%s reaches (%d, %d)", f.name, u, v)
				}
			}
		}
	}
}

// What is painted covers the area of the form, wherever it is and however it
// is turned.
func TestPaintKeepsTheArea(t *testing.T) {
	p := painter{sine: newSine()}
	for _, f := range shapeForms() {
		for _, angle := range []int{0, 20, 77, 128, 201} {
			p.canvas = [ShapesSize * ShapesSize]colour{}
			at := placed{inside: f.inside, x: 250, y: 260, rx: 150, ry: 120, angle: angle}
			p.paint(at, colour{400, 200, 100}, 100)
			var sum [3]int
			for _, c := range p.canvas {
				for i := range sum {
					sum[i] += c[i]
				}
			}
			want := area(f, p.sine) * 150 * 120 / subpixel / subpixel
			assert.InEpsilon(t, want, float64(sum[0])/400, 0.1, "%s at %d", f.name, angle)
			assert.Equal(t, sum[0], 4*sum[2])
		}
	}
}

// The mean image of every class is grey: neither colour nor place gives the
// class away, so the nearest mean image is hardly better than a guess.
func TestShapesAreNotTrivial(t *testing.T) {
	train, test := Shapes(2000, 11), Shapes(500, 12)
	const d = shapeBytes
	means := make([]float64, 10*d)
	for i, p := range train.Pixels {
		means[int(train.Labels[i/d])*d+i%d] += float64(p) / 200
	}
	right := 0
	for i := range test.Len() {
		best, nearest := 0, math.Inf(1)
		for c := range 10 {
			var distance float64
			for k, p := range test.Pixels[i*d : (i+1)*d] {
				distance += (float64(p) - means[c*d+k]) * (float64(p) - means[c*d+k])
			}
			if distance < nearest {
				best, nearest = c, distance
			}
		}
		if int32(best) == test.Labels[i] {
			right++
		}
	}
	assert.Less(t, right, 300, "of 500")
}

func BenchmarkShapes(b *testing.B) {
	previous := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(previous)
	for b.Loop() {
		Shapes(1000, 1)
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "images/s")
}
