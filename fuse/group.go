package fuse

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/ot"
)

// An update finds the best maps of spaces that belong together: one space, or
// queries with keys, and values, of one attention, whose heads move as one.
type update struct {
	*matcher
	spaces []int
}

// updates lists the updates of a round: residual streams first, since they
// touch every layer, then the others in order.
func (m *matcher) updates() []update {
	var streams, rest []update
	heads := map[*graph.Node]int{}
	for k, s := range m.spaces {
		if s.Group == graph.Trivial {
			continue
		}
		u := update{m, []int{k}}
		if s.Group != graph.Headwise {
			if s.IsResidual() {
				streams = append(streams, u)
			} else {
				rest = append(rest, u)
			}
			continue
		}
		if i, ok := heads[s.Attend]; ok {
			rest[i].spaces = append(rest[i].spaces, k)
			continue
		}
		heads[s.Attend] = len(rest)
		rest = append(rest, u)
	}
	return append(streams, rest...)
}

// A wave is updates that have no layer in common, so that none sees what the
// others do.
type wave []update

// waves strings the updates of a round together, in their order.
func (m *matcher) waves() (out []wave) {
	var last wave
	taken := map[int]bool{}
	for _, u := range m.updates() {
		layers := u.layers()
		if slices.ContainsFunc(layers, func(i int) bool { return taken[i] }) {
			out, last = append(out, last), nil
			clear(taken)
		}
		last = append(last, u)
		for _, i := range layers {
			taken[i] = true
		}
	}
	return append(out, last)
}

// layers lists the nodes whose parameters lie in spaces of the update.
func (u update) layers() (out []int) {
	for i, n := range u.src.Graph.Nodes {
		if slices.ContainsFunc(n.Params, func(p graph.Param) bool {
			return slices.ContainsFunc(p.Axes, func(a graph.Axis) bool { return slices.Contains(u.spaces, u.space(n, a)) })
		}) {
			out = append(out, i)
		}
	}
	return out
}

// climb replaces the maps by the best ones, all other maps given.
func (w wave) climb(ctx context.Context) error {
	gains, maps, errs := make([][]*mat.Dense, len(w)), make([][]*mat.Dense, len(w)), make([]error, len(w))
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, u := range w {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			if errs[i] = ctx.Err(); errs[i] != nil {
				return
			}
			for _, k := range u.spaces {
				gains[i] = append(gains[i], u.gain(k))
			}
			maps[i], errs[i] = u.best(ctx, gains[i])
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	for i, u := range w {
		for x, k := range u.spaces {
			u.objective += inner64(gains[i][x], maps[i][x])
			if u.maps[k] != nil {
				u.objective -= inner64(gains[i][x], u.maps[k])
			}
			u.maps[k] = maps[i][x]
		}
	}
	return nil
}

// best returns the maps of the group that maximise Σ ⟨gain, map⟩.
func (u update) best(ctx context.Context, gains []*mat.Dense) ([]*mat.Dense, error) {
	k := u.spaces[0]
	switch u.matcher.spaces[k].Group {
	case graph.Orthogonal:
		s, err := keepingOnes(gains[0])
		return []*mat.Dense{s}, err
	case graph.Headwise:
		return u.heads(ctx, gains)
	}
	s, err := u.assign(ctx, gains[0])
	return []*mat.Dense{s}, err
}

// random replaces the maps by random ones of the group.
func (u update) random(rng *rand.Rand) {
	gains := make([]*mat.Dense, len(u.spaces))
	for i, k := range u.spaces {
		gains[i] = mat.NewDense(u.matcher.spaces[k].Units, u.wide[k].Units, nil)
		gains[i].Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() }, gains[i])
	}
	maps, err := u.best(context.Background(), gains)
	if err != nil {
		return // normal numbers have a best map
	}
	for i, k := range u.spaces {
		u.maps[k] = maps[i]
	}
}

// heads assigns heads by the nuclear norms of their blocks, summed over the
// spaces, and turns each pair by the polar factor of its block. Where heads
// differ in width, queries and keys take a factor for the 1/√d of the scores.
func (u update) heads(ctx context.Context, gains []*mat.Dense) ([]*mat.Dense, error) {
	s, a := u.matcher.spaces[u.spaces[0]], u.anchor.Graph.Nodes[u.matcher.spaces[u.spaces[0]].Attend.ID]
	score := mat.NewDense(s.Heads, a.Heads, nil)
	polars := make([][]*mat.Dense, len(gains))
	block := func(g *mat.Dense, i, j int) mat.Matrix {
		n, m := g.Dims()
		n, m = n/s.Heads, m/a.Heads
		return g.Slice(i*n, (i+1)*n, j*m, (j+1)*m)
	}
	for x, g := range gains {
		for i := range s.Heads {
			for j := range a.Heads {
				p, nuclear, err := polar(block(g, i, j))
				if err != nil {
					return nil, err
				}
				polars[x] = append(polars[x], p)
				score.Set(i, j, score.At(i, j)+nuclear)
			}
		}
	}
	pairs, err := u.assign(ctx, score)
	if err != nil {
		return nil, err
	}
	out := make([]*mat.Dense, len(gains))
	for x, g := range gains {
		n, m := g.Dims()
		factor := 1.0
		if u.of[s.Attend.Args[0].ID] == u.spaces[x] {
			factor = math.Pow(float64(m*s.Heads)/float64(n*a.Heads), 0.25)
		}
		out[x] = mat.NewDense(n, m, nil)
		for i := range s.Heads {
			for j := range a.Heads {
				if share := pairs.At(i, j); share > 0 {
					block(out[x], i, j).(*mat.Dense).Scale(factor*share, polars[x][i*a.Heads+j])
				}
			}
		}
	}
	return out, nil
}

// errFactor reports a matrix without a singular value decomposition.
var errFactor = errors.New("a singular value decomposition failed")

// polar returns the partial isometry that maximises ⟨g, P⟩ [n × m], and the
// maximum, the nuclear norm of g (Schönemann, 1966).
func polar(g mat.Matrix) (p *mat.Dense, nuclear float64, err error) {
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

// keepingOnes returns the rotation that maximises ⟨g, O⟩ with O 1 = √(m/n) 1.
func keepingOnes(g *mat.Dense) (*mat.Dense, error) {
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
	ones /= math.Sqrt(float64(n * m)) // outweighs every direction but its own
	centred.Apply(func(i, j int, v float64) float64 { return v - rows[i] - cols[j] + all + ones }, centred)
	p, _, err := polar(centred)
	return p, err
}

// turn carries the map of space k further: by the nearest rotation to t [m × m],
// or by what t holds within each head, dual axes by the inverse transpose of it.
func (m *matcher) turn(k int, t *mat.Dense) error {
	s := m.wide[k]
	if n, c := t.Dims(); n != s.Units || c != s.Units {
		return fmt.Errorf("the map of %s is %d × %d, want %d × %d", s.Nodes[0].Name, n, c, s.Units, s.Units)
	}
	if s.Group != graph.Headwise {
		o, err := keepingOnes(t)
		if err != nil {
			return err
		}
		m.maps[k] = times(m.maps[k], o)
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
	m.maps[k], m.duals[k] = times(m.maps[k], within), times(m.duals[k], dual)
	return nil
}

func identity(n int) *mat.Dense {
	out := mat.NewDense(n, n, nil)
	for i := range n {
		out.Set(i, i, 1)
	}
	return out
}

func times(a, b *mat.Dense) *mat.Dense {
	var out mat.Dense
	out.Mul(a, b)
	return &out
}

// assign returns the matrix [n × m] that pairs rows with columns and maximises
// ⟨g, S⟩: of 0 and 1, or soft, rows and columns summing to 1, as the solver has
// it. What is left over on the longer side is paired with nothing.
func (m *matcher) assign(ctx context.Context, g *mat.Dense) (*mat.Dense, error) {
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
	plan, err := m.Solver.Solve(ctx, ot.Problem{Cost: cost})
	if short := (*ot.NotConvergedError)(nil); err != nil && !errors.As(err, &short) {
		return nil, err
	}
	out := mat.NewDense(n, c, nil)
	mass := plan.Mass()
	for i := range n {
		for j := range c {
			out.Set(i, j, float64(size)*mass.At(i, j))
		}
	}
	return out, nil
}

func inner64(a, b *mat.Dense) float64 {
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
