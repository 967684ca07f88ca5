package fuse

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/ot"
)

// best returns the maps of the group that maximise Σ ⟨gain, map⟩.
func (u update) best(ctx context.Context, gains []*mat.Dense) ([]*mat.Dense, error) {
	switch u.m.spaces[u.which[0]].Group {
	case graph.Orthogonal:
		s, err := rotationKeepingOnes(gains[0])
		return []*mat.Dense{s}, err
	case graph.Headwise:
		return u.heads(ctx, gains)
	}
	s, err := u.m.assignPairs(ctx, gains[0])
	return []*mat.Dense{s}, err
}

// heads assigns heads by the nuclear norms of their blocks, summed over the
// spaces, and carries each pair by the polar factor of its block. Where heads
// differ in width, queries take a factor for the 1/√d of the scores.
func (u update) heads(ctx context.Context, gains []*mat.Dense) ([]*mat.Dense, error) {
	s := u.m.spaces[u.which[0]]
	b := headBlocks{s.Heads, u.m.anchor.Graph.Nodes[s.Attend.ID].Heads}
	score := mat.NewDense(b.source, b.anchor, nil)
	factors := make([][]*mat.Dense, len(gains)) // polar factors of all blocks, row by row
	for x, g := range gains {
		for i := range b.source {
			for j := range b.anchor {
				p, nuclear, err := polarFactor(b.headBlock(g, i, j))
				if err != nil {
					return nil, err
				}
				factors[x] = append(factors[x], p)
				score.Set(i, j, score.At(i, j)+nuclear)
			}
		}
	}
	pairs, err := u.m.assignPairs(ctx, score)
	if err != nil {
		return nil, err
	}
	out := make([]*mat.Dense, len(gains))
	for x, g := range gains {
		n, m := g.Dims()
		scale := 1.0
		if u.m.of[s.Attend.Args[0].ID] == u.which[x] {
			scale = math.Pow(float64(m*b.source)/float64(n*b.anchor), 0.25)
		}
		out[x] = mat.NewDense(n, m, nil)
		for i := range b.source {
			for j := range b.anchor {
				if share := pairs.At(i, j); share > 0 {
					b.headBlock(out[x], i, j).Scale(scale*share, factors[x][i*b.anchor+j])
				}
			}
		}
	}
	return out, nil
}

// headBlocks divides a matrix of units into blocks of one head each.
type headBlocks struct{ source, anchor int } // heads

// headBlock returns the block of head i of the source and head j of the anchor; it
// shares the values of g.
func (b headBlocks) headBlock(g *mat.Dense, i, j int) *mat.Dense {
	n, m := g.Dims()
	n, m = n/b.source, m/b.anchor
	return g.Slice(i*n, (i+1)*n, j*m, (j+1)*m).(*mat.Dense)
}

// errFactor reports a matrix without a singular value decomposition.
var errFactor = errors.New("a singular value decomposition failed")

// polarFactor returns the partial isometry that maximises ⟨g, P⟩ [n × m], and the
// maximum, the nuclear norm of g (Schönemann, 1966).
func polarFactor(g mat.Matrix) (p *mat.Dense, nuclear float64, err error) {
	var svd mat.SVD
	if !svd.Factorize(g, mat.SVDThin) {
		return nil, 0, errFactor
	}
	var l, r, out mat.Dense
	svd.UTo(&l)
	svd.VTo(&r)
	out.Mul(&l, r.T())
	for _, v := range svd.Values(nil) {
		nuclear += v
	}
	return &out, nuclear, nil
}

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
	if s.Group != graph.Headwise {
		o, err := rotationKeepingOnes(t)
		if err != nil {
			return err
		}
		m.maps[k] = multiply(m.maps[k], o)
		return nil
	}
	within, dual, d := mat.NewDense(s.Units, s.Units, nil), mat.NewDense(s.Units, s.Units, nil), s.Units/s.Heads
	for h := range s.Heads {
		at := func(m *mat.Dense) *mat.Dense { return m.Slice(h*d, (h+1)*d, h*d, (h+1)*d).(*mat.Dense) }
		var inverse mat.Dense
		if err := inverse.Inverse(at(t)); err != nil {
			return fmt.Errorf("the map of head %d of %s: %w", h, s.Nodes[0].Name, err)
		}
		at(within).Copy(at(t))
		at(dual).Copy(inverse.T())
	}
	if m.duals[k] == nil {
		m.duals[k] = m.maps[k]
	}
	m.maps[k], m.duals[k] = multiply(m.maps[k], within), multiply(m.duals[k], dual)
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
