package modeltest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A spaceMap is a change of basis of a space [units × units], and the one that goes with
// it for axes that are contracted with others.
type spaceMap struct{ own, dual *mat.Dense }

// groupsLaw: every map that a group grants leaves the logits unchanged, and a map that
// it does not grant changes them.
func groupsLaw(_ context.Context, s subject, _ string) error {
	m, err := fuse.Canonical(s.model)
	if err != nil {
		return err
	}
	spaces, of := m.Graph.Spaces()
	rng := rand.New(rand.NewPCG(1, 11))
	granted, heads := make([]*spaceMap, len(spaces)), map[*graph.Node][]int{}
	for k, space := range spaces {
		if space.Attend != nil && heads[space.Attend] == nil {
			heads[space.Attend] = headOrder(rng, space)
		}
		if granted[k], err = newSpaceMap(grantedMap(rng, space, heads[space.Attend])); err != nil {
			return err
		}
	}
	if d := s.groupEffect(m, spaces, of, granted); !(d <= rounded*s.spread()) {
		return fmt.Errorf("maps that the groups grant move the logits by %.2g", d)
	}
	for k, space := range spaces {
		larger := beyond(space)
		if larger == nil || space.Group == graph.Permutation && !s.signsMatter(space, of, k) {
			continue
		}
		only := make([]*spaceMap, len(spaces))
		if only[k], err = newSpaceMap(larger); err != nil {
			return err
		}
		if d := s.groupEffect(m, spaces, of, only); !(d > rounded*s.spread()) {
			return fmt.Errorf("the space of %s has the group %s, and more leaves the logits as they are: they move by %.2g",
				space.Nodes[0].Name, space.Group, d)
		}
	}
	return nil
}

// signsMatter reports whether a sign of a unit of space k should be seen: something in it
// is neither linear nor put out as a feature.
func (s subject) signsMatter(space graph.Space, of []int, k int) bool {
	last := s.model.Graph.Nodes[len(s.model.Graph.Nodes)-1]
	if slices.ContainsFunc(last.Args, func(n *graph.Node) bool { return of[n.ID] == k }) {
		return false
	}
	return slices.ContainsFunc(space.Nodes, func(n *graph.Node) bool { return n.Op == graph.Act || n.Op == graph.Norm })
}

func newSpaceMap(own *mat.Dense) (*spaceMap, error) {
	var inverse mat.Dense
	if err := inverse.Inverse(own); err != nil {
		return nil, err
	}
	return &spaceMap{own, mat.DenseCopyOf(inverse.T())}, nil
}

// groupEffect returns how far the outputs of m move, but for their basis, when its spaces
// change their basis; a nil map changes nothing.
func (s subject) groupEffect(m *models.Model, spaces []graph.Space, of []int, maps []*spaceMap) float64 {
	along := func(n *graph.Node, axis graph.Axis) *mat.Dense {
		at := n.Along(axis)
		if at == nil || of[at.ID] < 0 || maps[of[at.ID]] == nil {
			return nil
		}
		space, by := spaces[of[at.ID]], maps[of[at.ID]].own
		switch {
		case axis == graph.Gain:
			by = mat.DenseCopyOf(by)
			by.MulElem(by, by)
		case axis == graph.In && !space.Group.WithinHeads() || space.Dual(n, axis):
			by = maps[of[at.ID]].dual
		}
		if space.Group == graph.SignedPermutation && !space.TakesSigns(n, axis) {
			by = mat.DenseCopyOf(by)
			by.Apply(func(_, _ int, v float64) float64 { return math.Abs(v) }, by)
		}
		if space.Copies(at) > 1 {
			return sharedHeads(by, space)
		}
		return by
	}
	p := models.Params{}
	for name, t := range m.Params {
		t.Data = slices.Clone(t.Data)
		p[name] = t
	}
	for _, n := range m.Graph.Nodes {
		for _, q := range n.Params {
			values := Tensor(p, q)
			for k, axis := range q.Axes {
				if by := along(n, axis); by != nil {
					values = multipliedAlong(values, q.Shape, k, by)
				}
			}
			putTensor(p, q, values)
		}
	}
	push := func(n *graph.Node) *mat.Dense { return along(n, graph.Out) }
	return apart(outputsIn(m, s.batch, push), Outputs(m.With(p), s.batch))
}

// multipliedAlong multiplies axis k of a tensor with a square matrix.
func multipliedAlong(values []float64, shape []int, k int, by *mat.Dense) []float64 {
	n, post := shape[k], 1
	for _, d := range shape[k+1:] {
		post *= d
	}
	out := make([]float64, len(values))
	for at, v := range values {
		i, from := at/post%n, at-at/post%n*post
		for j, w := range by.RawRowView(i) {
			out[from+j*post] += v * w
		}
	}
	return out
}

// putTensor is the inverse of [Tensor].
func putTensor(p models.Params, q graph.Param, values []float64) {
	run := q.Runs()
	for i, v := range values {
		p[q.Name].Data[run.Offset+i/run.Length*run.Stride+i%run.Length] = float32(v)
	}
}

// sharedHeads returns the map of keys and values from that of the queries that share
// them.
func sharedHeads(by *mat.Dense, s graph.Space) *mat.Dense {
	d := s.Units / s.Heads
	out := mat.NewDense(s.Units/s.Shared, s.Units/s.Shared, nil)
	for i := range s.Units {
		for j, v := range by.RawRowView(i) {
			x, y := i/d/s.Shared*d+i%d, j/d/s.Shared*d+j%d
			out.Set(x, y, out.At(x, y)+v/float64(s.Shared))
		}
	}
	return out
}

// grantedMap draws a map of the group of a space. Heads come in a given order.
func grantedMap(rng *rand.Rand, s graph.Space, heads []int) *mat.Dense {
	switch {
	case s.Group == graph.Orthogonal:
		return randomRotation(rng, s.Units)
	case s.Group == graph.MeanKeeping:
		return keepingOnes(randomRotation(rng, s.Units-1))
	case s.Group.WithinHeads():
		return headsMap(rng, s, heads)
	}
	out := mat.NewDense(s.Units, s.Units, nil)
	for j, i := range shuffled(rng, s.Units) {
		switch {
		case s.Group == graph.Trivial:
			out.Set(j, j, 1)
		case s.Group == graph.SignedPermutation && rng.IntN(2) == 0:
			out.Set(i, j, -1)
		default:
			out.Set(i, j, 1)
		}
	}
	return out
}

// headsMap draws a map that puts heads into an order and acts within each.
func headsMap(rng *rand.Rand, s graph.Space, heads []int) *mat.Dense {
	d := s.Units / s.Heads
	out := mat.NewDense(s.Units, s.Units, nil)
	var within *mat.Dense
	for to, from := range heads {
		if to%s.Shared == 0 {
			within = withinHead(rng, s, d)
		}
		out.Slice(from*d, (from+1)*d, to*d, (to+1)*d).(*mat.Dense).Copy(within)
	}
	return out
}

// withinHead draws a map of the units of one head.
func withinHead(rng *rand.Rand, s graph.Space, d int) *mat.Dense {
	out, turned := mat.NewDense(d, d, nil), 0
	if s.Group != graph.Headwise {
		turned = 2 * s.Planes
	}
	for i := range d {
		out.Set(i, i, 1)
	}
	for i := range turned / 2 {
		z := complex(rng.NormFloat64(), 1+rng.Float64())
		if s.Group == graph.HeadSigns {
			z = complex(float64(2*rng.IntN(2)-1), 0)
		}
		j := i + turned/2
		out.Set(i, i, real(z))
		out.Set(j, j, real(z))
		out.Set(i, j, imag(z))
		out.Set(j, i, -imag(z))
	}
	for i := turned; i < d && s.Group != graph.HeadSigns; i++ {
		for j := turned; j < d; j++ {
			out.Set(i, j, out.At(i, j)+0.3*rng.NormFloat64())
		}
	}
	return out
}

// randomRotation draws an orthogonal matrix.
func randomRotation(rng *rand.Rand, n int) *mat.Dense {
	g := mat.NewDense(n, n, nil)
	g.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() }, g)
	var qr mat.QR
	var q mat.Dense
	qr.Factorize(g)
	qr.QTo(&q)
	return &q
}

// keepingOnes returns an orthogonal matrix [n × n] that keeps (1, …, 1) and acts as o
// [n-1 × n-1] on what is at right angles to it, in a basis that a reflection gives.
func keepingOnes(o *mat.Dense) *mat.Dense {
	n, _ := o.Dims()
	n++
	u := mat.NewVecDense(n, nil) // of the reflection that swaps (1, …, 1)/√n with the first unit
	for i := range n {
		u.SetVec(i, 1/math.Sqrt(float64(n)))
	}
	u.SetVec(0, u.AtVec(0)-1)
	reflection, inner := mat.NewDense(n, n, nil), mat.NewDense(n, n, nil)
	reflection.Outer(-2/mat.Dot(u, u), u, u)
	inner.Set(0, 0, 1)
	inner.Slice(1, n, 1, n).(*mat.Dense).Copy(o)
	for i := range n {
		reflection.Set(i, i, reflection.At(i, i)+1)
	}
	var out mat.Dense
	out.Product(reflection, inner, reflection)
	return &out
}

// beyond returns a map just outside of the group of a space, or nil where there is none
// to try: signs beyond permutations, a rotation of two units beyond signs, a reflection
// of a plane beyond its complex numbers, two heads that mix beyond maps within each,
// another mean, and a factor beyond rotations.
func beyond(s graph.Space) *mat.Dense {
	d := s.Units / max(s.Heads, 1)
	out := mat.NewDense(s.Units, s.Units, nil)
	for i := range s.Units {
		out.Set(i, i, 1)
	}
	turn := func(i, j int) {
		out.Set(i, i, 0.8)
		out.Set(j, j, 0.8)
		out.Set(i, j, 0.6)
		out.Set(j, i, -0.6)
	}
	switch s.Group {
	case graph.Permutation:
		out.Set(0, 0, -1)
	case graph.SignedPermutation, graph.MeanKeeping:
		turn(0, 1)
	case graph.Orthogonal:
		out.Set(0, 0, 2)
	case graph.HeadSigns:
		for h := range s.Shared {
			turn(h*d, h*d+s.Planes)
		}
	case graph.HeadPlanes:
		for h := range s.Shared {
			out.Set(h*d, h*d, -1)
		}
	case graph.Headwise:
		if s.Heads == s.Shared {
			return nil
		}
		for h := range s.Shared {
			turn(h*d, (h+s.Shared)*d)
		}
	default:
		return nil
	}
	return out
}
