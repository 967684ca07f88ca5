package graph

import (
	"math"
	"slices"
)

// Attention says which tokens an attention looks at, and how its units divide.
type Attention struct {
	Heads  int     // of the queries; keys and values may have fewer, each of which serves several in a row
	Mask   *Node   // input [batch, tokens]: 1 where a token may be attended to; nil for all
	Causal bool    // a token attends to itself and to those before it
	Window int     // of a causal attention: to itself and Window - 1 before it; 0 for all
	Scale  float64 // of the scores, on top of 1/√d; 0 means 1
}

// Attend declares multi-head attention of queries over keys and values. Heads of
// keys, and of values, are as wide as those of queries, so that their number
// follows from the width of the keys.
func (b *Builder) Attend(name string, a Attention, q, k, v *Node) *Node {
	args := []*Node{q, k, v}
	if a.Mask != nil {
		args = append(args, a.Mask)
	}
	args = b.checkedArguments(name, args...)
	q, k, v = args[0], args[1], args[2]
	n := Node{Op: Attend, Name: name, Units: v.Units, Heads: a.Heads, Causal: a.Causal, Window: a.Window, Scale: a.Scale,
		Args: args}
	if !a.divides(q.Units, k.Units, v.Units) {
		b.fail("attend %s: %d heads over queries %d, keys %d, values %d wide", name, a.Heads, q.Units, k.Units, v.Units)
		return b.add(n)
	}
	if n.Units *= n.Shared(); n.Scale == 0 {
		n.Scale = 1
	}
	if !(n.Scale > 0) || math.IsInf(n.Scale, 0) {
		b.fail("attend %s: scores scaled by %g", name, a.Scale)
	}
	if n.Window < 0 || n.Window > 0 && !n.Causal {
		b.fail("attend %s: a window of %d tokens, causal %t", name, a.Window, a.Causal)
	}
	return b.add(n)
}

// divides reports whether units of these widths divide into whole heads.
func (a Attention) divides(queries, keys, values int) bool {
	if a.Heads <= 0 || queries <= 0 || keys <= 0 || values <= 0 || queries%a.Heads != 0 {
		return false
	}
	d := queries / a.Heads
	return keys%d == 0 && a.Heads%(keys/d) == 0 && values%(keys/d) == 0
}

// Shared returns how many heads of queries share a head of keys and values in an
// Attend.
func (n *Node) Shared() int { return n.Args[0].Units / n.Args[1].Units }

// A Rope holds the angles of rotary positions: in every head, units i and i + R/2
// form a plane, for R/2 planes, and at position t plane i is turned by
// t · Frequencies[i]. The units of a head from R on stay as they are.
//
// Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021).
type Rope struct {
	Frequencies []float64 // of each plane, in radians per token
	Factor      float64   // of what is turned; 0 means 1
}

// Angles returns cosine and sine of the angle of every plane at position t, times the
// factor.
func (r Rope) Angles(t int) (cosines, sines []float64) {
	for _, f := range r.Frequencies {
		sin, cos := math.Sincos(float64(t) * f)
		cosines, sines = append(cosines, r.Factor*cos), append(sines, r.Factor*sin)
	}
	return cosines, sines
}

// Rotary declares rotary positions on the heads of queries or keys.
func (b *Builder) Rotary(name string, heads int, x *Node, r Rope) *Node {
	args := b.checkedArguments(name, x)
	if r.Factor == 0 {
		r.Factor = 1
	}
	r.Frequencies = slices.Clone(r.Frequencies)
	n := Node{Op: Rotary, Name: name, Units: args[0].Units, Heads: heads, Rope: r, Args: args}
	switch planes := len(r.Frequencies); {
	case heads <= 0 || n.Units%heads != 0 || planes == 0 || 2*planes > n.Units/heads:
		b.fail("rotary %s: %d heads of %d units have no %d planes", name, heads, n.Units, planes)
	case slices.ContainsFunc(r.Frequencies, func(f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) }):
		b.fail("rotary %s: frequencies %v", name, r.Frequencies)
	case !(r.Factor > 0) || math.IsInf(r.Factor, 0):
		b.fail("rotary %s: a factor of %g", name, r.Factor)
	}
	return b.add(n)
}

// Mul declares the product of two factors, unit by unit.
func (b *Builder) Mul(name string, x, y *Node) *Node {
	args := b.checkedArguments(name, x, y)
	if x, y = args[0], args[1]; x.Units != y.Units {
		b.fail("mul %s: %s is %d wide, %s is %d wide", name, x.Name, x.Units, y.Name, y.Units)
	}
	return b.add(Node{Op: Mul, Name: name, Units: x.Units, Args: args})
}
