package dataset

// form is a class of [Shapes].
type form struct {
	name   string
	inside func(u, v int, t *sineTable) bool // in units of 1/1024 of the radius
}

func shapeForms() []form {
	return []form{
		{"disk", disk}, {"half", halfDisk}, {"square", square}, {"triangle", triangle}, {"cross", cross},
		{"star", star}, {"ring", ring}, {"crescent", crescent}, {"stripes", stripes}, {"checker", checker},
	}
}

// farthest is how far any form reaches from its centre: the tips of the star.
const farthest = unit * 4 / 3

func disk(u, v int, _ *sineTable) bool { return u*u+v*v <= unit*unit }

func square(u, v int, _ *sineTable) bool { return max(abs(u), abs(v)) <= unit*7/8 }

// halfDisk is a half disk, moved so that its middle is about the centre.
func halfDisk(u, v int, _ *sineTable) bool {
	w := u + unit*4/10
	return w >= 0 && w*w+v*v <= unit*unit*5/4
}

func triangle(u, v int, t *sineTable) bool { return innerSides(u, v, 3, unit*6/10, t) == 3 }

func cross(u, v int, _ *sineTable) bool {
	return min(abs(u), abs(v)) <= unit*3/10 && max(abs(u), abs(v)) <= unit
}

// star is the pentagram: a point of it is beyond at most one of the five lines.
func star(u, v int, t *sineTable) bool { return innerSides(u, v, 5, unit*4/10, t) >= 4 }

func ring(u, v int, _ *sineTable) bool {
	r := u*u + v*v
	return r <= unit*unit && r >= unit*unit*3/10
}

func crescent(u, v int, _ *sineTable) bool {
	w := u - unit*4/10
	return u*u+v*v <= unit*unit && w*w+v*v >= unit*unit*5/10
}

func stripes(u, v int, _ *sineTable) bool {
	return u*u+v*v <= unit*unit*5/4 && (u+4*unit)/(unit*4/10)&1 == 0
}

func checker(u, v int, _ *sineTable) bool {
	a, b := (u+4*unit)/(unit*5/10), (v+4*unit)/(unit*5/10)
	return u*u+v*v <= unit*unit*5/4 && (a+b)&1 == 0
}

// innerSides counts how many of the n sides of a regular polygon, at a distance
// from the centre, have the point on their inner side.
func innerSides(u, v, n, distance int, t *sineTable) int {
	inner := 0
	for k := range n {
		a := k * turn / n
		if u*t.cos(a)+v*t.sin(a) <= distance*sineOne {
			inner++
		}
	}
	return inner
}

// placed is a form on the canvas.
type placed struct {
	inside func(u, v int, t *sineTable) bool
	x, y   int // centre in 1/16 pixel
	rx, ry int // radii in 1/16 pixel
	angle  int // in 1/256 turn
}

// paint blends a form into the canvas with an opacity in percent, its edge
// smoothed by four samples per pixel.
func (p *painter) paint(f placed, c colour, opacity int) {
	const shift, reciprocal = 20, unit << 6 // sines have 14 bits, the products 20
	cos, sin := int64(p.sine.cos(f.angle)), int64(p.sine.sin(f.angle))
	ux, uy := cos*reciprocal/int64(f.rx), sin*reciprocal/int64(f.rx)
	vx, vy := -sin*reciprocal/int64(f.ry), cos*reciprocal/int64(f.ry)
	reach := max(f.rx, f.ry)*farthest/unit/subpixel + 1
	cx, cy := f.x/subpixel, f.y/subpixel
	for y := max(cy-reach, 0); y <= min(cy+reach, ShapesSize-1); y++ {
		for x := max(cx-reach, 0); x <= min(cx+reach, ShapesSize-1); x++ {
			hits := 0
			for k := range 4 {
				dx := int64(x*subpixel + 4 + 8*(k&1) - f.x)
				dy := int64(y*subpixel + 4 + 8*(k>>1) - f.y)
				u, v := (ux*dx+uy*dy)>>shift, (vx*dx+vy*dy)>>shift
				if u*u+v*v <= farthest*farthest && f.inside(int(u), int(v), p.sine) {
					hits++
				}
			}
			if hits == 0 {
				continue
			}
			px := &p.canvas[y*ShapesSize+x]
			for i := range px {
				px[i] += (c[i] - px[i]) * hits * opacity / 400
			}
		}
	}
}
