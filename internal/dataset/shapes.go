package dataset

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/otfuse/otfuse/internal/dataset/random"
	"github.com/otfuse/otfuse/models/data"
)

// ShapesSize is the height and the width of the images of [Shapes] in pixels.
const ShapesSize = 32

// shapeBytes is the size of one image in bytes.
const shapeBytes = 3 * ShapesSize * ShapesSize

// Shapes draws n images of ten classes of coloured shapes, [n, 3, 32, 32].
//
// Place, size, proportion, angle and colours are random; gradients, texture,
// noise, distractors, occlusion and low contrast keep the task from being easy,
// and most classes have a near relative: disk and square, ring and crescent,
// cross and star, stripes and checker. Ten successive images hold every class
// once.
//
// Image i depends on (seed, i) alone, through integer arithmetic: the bytes are
// the same on every machine, and Shapes(n, seed) begins with Shapes(m, seed)
// for m < n. A negative n counts as 0. Train and test sets take two seeds.
func Shapes(n int, seed uint64) *data.Set {
	s := newShapes(max(n, 0))
	sine := newSine()
	const block = 10 // images per unit of work, one of each class
	starts := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			p := painter{sine: sine}
			for from := range starts {
				p.paintBlock(s, from, min(from+block, s.Len()), seed)
			}
		})
	}
	for from := 0; from < s.Len(); from += block {
		starts <- from
	}
	close(starts)
	workers.Wait()
	return s
}

// newShapes returns a set of n images without content.
func newShapes(n int) *data.Set {
	return &data.Set{
		Pixels: make([]byte, n*shapeBytes), Labels: make([]int32, n),
		C: 3, H: ShapesSize, W: ShapesSize, Classes: shapeClasses(),
	}
}

func shapeClasses() []string {
	classes := make([]string, len(shapeForms()))
	for i, f := range shapeForms() {
		classes[i] = f.name
	}
	return classes
}

// fixed-point units: lengths on the canvas are in 1/16 pixel, lengths within a
// form in 1/1024 of its radius, sines and cosines in 1/16384.
const (
	subpixel = 16
	unit     = 1024
	sineOne  = 1 << 14
	turn     = 256 // angles to a full turn
)

type sineTable [turn]int

func newSine() *sineTable {
	var t sineTable
	for i := range t {
		// Rounding to 14 bits hides the last-bit differences between machines.
		t[i] = int(math.Round(math.Sin(2*math.Pi*float64(i)/turn) * sineOne))
	}
	return &t
}

func (t *sineTable) sin(a int) int { return t[a&(turn-1)] }
func (t *sineTable) cos(a int) int { return t[(a+turn/4)&(turn-1)] }

// dice draws the random numbers of one image.
type dice struct{ *rand.PCG }

// between returns an integer of [lo, hi].
func (d dice) between(lo, hi int) int { return lo + random.Below(d.PCG, hi-lo+1) }

// percent is true p times of 100.
func (d dice) percent(p int) bool { return random.Below(d.PCG, 100) < p }

// colour is red, green and blue, usually 0 to 255.
type colour [3]int

func (d dice) colour(lo, hi int) colour {
	return colour{d.between(lo, hi), d.between(lo, hi), d.between(lo, hi)}
}

func (c colour) distance(o colour) int {
	return abs(c[0]-o[0]) + abs(c[1]-o[1]) + abs(c[2]-o[2])
}

func abs(x int) int {
	if x < 0 {
		return -x
	}
	return x
}

// painter draws one image after the other on its canvas.
type painter struct {
	sine   *sineTable
	canvas [ShapesSize * ShapesSize]colour
}

// paintBlock draws the images [from, to) of a set; from is a multiple of 10.
func (p *painter) paintBlock(s *data.Set, from, to int, seed uint64) {
	forms := shapeForms()
	classes := data.Sampler{N: len(forms), Batch: len(forms), Seed: ^seed}.Indices(from / len(forms))
	for i := from; i < to; i++ {
		class := classes[i-from]
		s.Labels[i] = int32(class)
		d := dice{rand.NewPCG(random.Mix(seed), random.Mix(uint64(i)))}
		p.paintScene(d, forms, class)
		p.writePixels(d, s.Pixels[i*shapeBytes:(i+1)*shapeBytes])
	}
}

// paintScene draws the background, the distractors, the form and what hides it.
// Most forms are light on dark, near the middle and not far from upright: a
// model gets a start from that, and has to learn the exceptions.
func (p *painter) paintScene(d dice, forms []form, class int) {
	back, fore := d.colours()
	p.background(d, back)
	for range d.between(0, 3) {
		p.distractor(d)
	}
	const middle, astray, tilt = ShapesSize * subpixel / 2, 6 * subpixel, turn / 10
	rx := d.between(7*subpixel, 14*subpixel)
	f := placed{
		inside: forms[class].inside,
		x:      middle + d.between(-astray, astray),
		y:      middle + d.between(-astray, astray),
		rx:     rx, ry: rx * d.between(75, 130) / 100,
		angle: d.between(-tilt, tilt),
	}
	if d.percent(20) {
		f.angle = d.between(0, turn-1)
	}
	p.paint(f, fore, d.between(65, 100))
	if d.percent(40) {
		p.occlude(d, f, back)
	}
}

// colours draws those of the background and of the form.
func (d dice) colours() (back, fore colour) {
	far := d.between(80, 260)
	for range 12 {
		back, fore = d.colour(15, 160), d.colour(90, 255)
		if fore.distance(back) >= far {
			break
		}
	}
	if d.percent(15) {
		return fore, back
	}
	return back, fore
}

// background is one colour with a smooth random texture.
func (p *painter) background(d dice, base colour) {
	const nodes, step = 5, 8
	var grid [nodes * nodes]colour
	amp := d.between(5, 60)
	for i := range grid {
		for c := range 3 {
			grid[i][c] = base[c] + d.between(-amp, amp)
		}
	}
	for y := range ShapesSize {
		for x := range ShapesSize {
			g, v, u := (y/step)*nodes+x/step, y%step, x%step
			for c := range 3 {
				top := grid[g][c]*(step-u) + grid[g+1][c]*u
				low := grid[g+nodes][c]*(step-u) + grid[g+nodes+1][c]*u
				p.canvas[y*ShapesSize+x][c] = (top*(step-v) + low*v) / (step * step)
			}
		}
	}
}

// distractor is a small disk or a short line of any colour.
func (p *painter) distractor(d dice) {
	const side = ShapesSize * subpixel
	f := placed{inside: disk, x: d.between(0, side), y: d.between(0, side), angle: d.between(0, turn-1)}
	f.rx = d.between(subpixel, 3*subpixel)
	f.ry = f.rx
	if d.percent(50) {
		f.inside, f.rx, f.ry = square, d.between(4*subpixel, 10*subpixel), d.between(subpixel/2, subpixel*3/2)
	}
	p.paint(f, d.colour(0, 255), d.between(40, 100))
}

// occlude hides a part of the form under a bar of nearly the colour of the
// background, or of any other.
func (p *painter) occlude(d dice, f placed, back colour) {
	bar := placed{inside: square, rx: 2 * f.rx, ry: d.between(f.rx/8, f.rx/3), angle: d.between(0, turn-1)}
	bar.x = f.x + d.between(-f.rx/2, f.rx/2)
	bar.y = f.y + d.between(-f.rx/2, f.rx/2)
	c := d.colour(0, 255)
	if d.percent(60) {
		for i := range c {
			c[i] = back[i] + d.between(-15, 15)
		}
	}
	p.paint(bar, c, 100)
}

// writePixels adds the noise of the sensor and writes the canvas as bytes in planes.
func (p *painter) writePixels(d dice, dst []byte) {
	const area = ShapesSize * ShapesSize
	sigma := d.between(4, 24)
	for i := range p.canvas {
		for c := range 3 {
			// The sum of four bytes is close to normal, with deviation 148.
			bits := d.Uint64()
			sum := int(bits&255 + bits>>8&255 + bits>>16&255 + bits>>24&255)
			v := p.canvas[i][c] + (sum-510)*sigma/148
			dst[c*area+i] = byte(min(max(v, 0), 255))
		}
	}
}
