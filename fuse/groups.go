package fuse

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/ot"
)

// A slope is the derivative of the objective by the map S of a space [n × m]: while
// the other maps stay, S is worth ⟨maps, S⟩ + ⟨magnitudes, |S|⟩.
type slope struct {
	maps       *mat.Dense
	magnitudes *mat.Dense // of the axes that take no signs; nil but for signed permutations
}

// worth returns what a map is worth.
func (d slope) worth(s *unitMap) float64 {
	if d.magnitudes == nil {
		return s.innerProduct(d.maps)
	}
	return s.innerProduct(d.maps) + s.magnitudes().innerProduct(d.magnitudes)
}

// pairs returns what each pair of units is worth, with the better sign.
func (d slope) pairs() *mat.Dense {
	if d.magnitudes == nil {
		return d.maps
	}
	out := magnitudesOf(d.maps)
	out.Add(out, d.magnitudes)
	return out
}

// withSigns gives the pairs of s the better signs, in place.
func (d slope) withSigns(s *mat.Dense) *mat.Dense {
	if d.magnitudes != nil {
		s.Apply(func(i, j int, v float64) float64 { return math.Copysign(v, d.maps.At(i, j)) }, s)
	}
	return s
}

// magnitudesOf returns |s|, entry by entry.
func magnitudesOf(s *mat.Dense) *mat.Dense {
	out := mat.DenseCopyOf(s)
	out.Apply(func(_, _ int, v float64) float64 { return math.Abs(v) }, out)
	return out
}

// best returns the maps of the group that are worth most.
func (u update) best(ctx context.Context, slopes []slope) ([]*mat.Dense, error) {
	group := u.m.spaces[u.which[0]].Group
	switch {
	case group.Rotates():
		rotate := func() (*mat.Dense, error) { return bestRotation(group, slopes[0].maps) }
		s, err := interruptible.Value(ctx, rotate)
		if err != nil {
			return nil, err
		}
		return []*mat.Dense{s}, nil
	case group.WithinHeads():
		return u.heads(ctx, slopes)
	}
	s, err := u.m.assignPairs(ctx, slopes[0].pairs())
	if err != nil {
		return nil, err
	}
	return []*mat.Dense{slopes[0].withSigns(s)}, nil
}

// bestRotation returns the orthogonal map of a residual stream that maximises ⟨g, O⟩.
// Only those that keep (1, …, 1) are symmetries, or close to ones, of layer norms.
func bestRotation(group graph.Group, g *mat.Dense) (*mat.Dense, error) {
	if group == graph.Orthogonal || group == graph.SignedPermutation {
		o, _, err := polarFactor(g)
		return o, err
	}
	return rotationKeepingOnes(g)
}

// errFactor reports a matrix without a singular value decomposition.
var errFactor = errors.New("a singular value decomposition failed")

// rotationKeepingOnes returns the orthogonal map that maximises ⟨g, O⟩ among
// those with O 1 = √(m/n) 1: the polar factor of g without its means, to which
// the direction of ones is added so strongly that it is kept.
func rotationKeepingOnes(g *mat.Dense) (*mat.Dense, error) {
	n, m := g.Dims()
	centred := mat.DenseCopyOf(g)
	rows, cols, all := make([]float64, n), make([]float64, m), 0.0
	for i := range n {
		for j, v := range g.RawRowView(i) {
			rows[i] += v / float64(m)
			cols[j] += v / float64(n)
			all += v / float64(n*m)
		}
	}
	ones := mat.Norm(g, 2)
	if ones == 0 {
		ones = 1
	}
	ones /= math.Sqrt(float64(n * m))
	centred.Apply(func(i, j int, v float64) float64 { return v - rows[i] - cols[j] + all + ones }, centred)
	p, _, err := polarFactor(centred)
	return p, err
}

// refineMap carries the map of space k further by a matrix t [m × m]: by the
// orthogonal map nearest to it or, for heads, by what it holds within each head;
// dual axes take the inverse transpose.
func (m *matcher) refineMap(k int, t *mat.Dense) error {
	s := m.anchorSpaces[k]
	if t == nil {
		return fmt.Errorf("the map of %s is nil", s.Nodes[0].Name)
	}
	if n, c := t.Dims(); n != s.Units || c != s.Units {
		return fmt.Errorf("the map of %s is %d × %d, want %d × %d", s.Nodes[0].Name, n, c, s.Units, s.Units)
	}
	if !s.Group.WithinHeads() {
		o, err := bestRotation(s.Group, t)
		if err != nil {
			return err
		}
		m.maps[k] = newUnitMap(multiply(m.maps[k].dense(), o))
		return nil
	}
	within, dual, err := invertibleWithinHeads(s, t)
	if err != nil {
		return err
	}
	if m.duals[k] == nil {
		m.duals[k] = m.maps[k]
	}
	m.maps[k], m.duals[k] = newUnitMap(multiply(m.maps[k].dense(), within)),
		newUnitMap(multiply(m.duals[k].dense(), dual))
	return nil
}

func identity(n int) *mat.Dense {
	out := mat.NewDense(n, n, nil)
	for i := range n {
		out.Set(i, i, 1)
	}
	return out
}

func multiply(a, b *mat.Dense) *mat.Dense {
	var out mat.Dense
	out.Mul(a, b)
	return &out
}

// assignPairs returns the matrix S [n × m] that pairs rows with columns and maximises
// ⟨g, S⟩. Its entries are 0 and 1 under an exact solver, shares that sum to 1
// under an entropic one. What is left over on the longer side is paired with
// nothing.
func (m *matcher) assignPairs(ctx context.Context, g *mat.Dense) (*mat.Dense, error) {
	n, c := g.Dims()
	if n > c { // rows that choose among more columns are fast, columns of nothing that are all alike are not
		out, err := m.assignPairs(ctx, mat.DenseCopyOf(g.T()))
		if err != nil {
			return nil, err
		}
		return mat.DenseCopyOf(out.T()), nil
	}
	size := max(n, c)
	cost := mat.NewDense(size, size, nil)
	top := mat.Max(g)
	scale := top - mat.Min(g)
	if scale == 0 {
		scale = 1
	}
	for i := range n {
		for j, v := range g.RawRowView(i) {
			cost.Set(i, j, (top-v)/scale)
		}
	}
	plan, err := m.how.Solver.Solve(ctx, ot.Problem{Cost: cost})
	if warning := (*ot.NotConvergedError)(nil); err != nil && !errors.As(err, &warning) {
		return nil, err
	}
	if r, c := plan.Dims(); r != size || c != size {
		return nil, fmt.Errorf("Solver %T returned a plan of %d × %d for a cost of %d × %d", m.how.Solver, r, c, size, size)
	}
	out := mat.NewDense(n, c, nil)
	for i := range n {
		for j, v := range plan.Row(i) {
			if j < c {
				out.Set(i, j, float64(size)*v)
			}
		}
	}
	return out, nil
}

func innerProduct(a, b *mat.Dense) float64 {
	var s float64
	n, _ := a.Dims()
	for i := range n {
		x, y := a.RawRowView(i), b.RawRowView(i)
		for j := range x {
			s += x[j] * y[j]
		}
	}
	return s
}

// addProduct adds c x yᵀ to g, for x [n × r] and y [m × r].
func addProduct(g *mat.Dense, x, y []float32, c float64) {
	n, m := g.Dims()
	out := make([]float32, n*m)
	product(out, x, y, len(x)/n)
	for i := range n {
		row := g.RawRowView(i)
		for j := range row {
			row[j] += c * float64(out[i*m+j])
		}
	}
}
