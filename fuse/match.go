package fuse

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Matching finds maps among the exact symmetries of an architecture: each space
// of the flow graph has one map, of the group that leaves the network as it is
// ([graph.Group]), so that the transported source computes what it did before.
// Both models are brought to their [Canonical] form first.
//
// The maps S maximise, one space after the other until nothing moves,
//
//	(1 − Mix) Σ ⟨W_anchor, S(W_source)⟩ / ‖W_anchor‖‖W_source‖  +  Mix Σ ⟨C, S⟩
//
// over layers W and cross moments C of activations. The best map of a space,
// all others given, is an assignment, a polar factor (Procrustes), or, for
// heads, an assignment on nuclear norms and a polar factor within each pair; so
// no update lowers the objective. Ainsworth, Hayase and Srinivasa, "Git
// re-basin" (ICLR 2023) for permutations; Theus et al., "Generalized linear
// mode connectivity for transformers" (NeurIPS 2025) for the stream.
type Matching struct {
	Mix      float64 // share of activations beside weights, 0 to 1; above 0 needs Options.Calibration
	Rounds   int     // most rounds; 0 means 20
	Restarts int     // further starts, from random maps; the best end counts
	Seed     uint64  // of the restarts
	Learner  Learner // refines the maps; may be nil
}

// A Learner refines rotations by what the models between anchor and source
// lose. models/mlx has one.
type Learner interface {
	// Learn returns a matrix [units × units] for each of the spaces, of Rotate
	// or Heads, by whose nearest rotation src is turned further. Both models have
	// the anchor's shapes and are in canonical form.
	Learn(ctx context.Context, src, anchor *models.Model, spaces []graph.Space) ([]*mat.Dense, error)
}

// still is the gain of a round, relative to the objective, that is none.
const still = 1e-4

// matcher holds the maps of one source.
type matcher struct {
	Matching
	src, anchor *models.Model // canonical
	spaces      []graph.Space // of the source
	wide        []int         // units of each space in the anchor
	of          []int         // space of each node, -1 where its basis is fixed
	maps        []*mat.Dense  // of each space [n × m]; nil while unknown
	moments     []*mat.Dense  // of each space: what activations say [n × m]; nil without
	scale       []float64     // of each node: 1 / ‖W_anchor‖‖W_source‖
	objective   float64       // gained since the start
}

// match transports src by symmetries. The anchor is canonical.
func match(ctx context.Context, source int, src, anchor *models.Model, o Options) (models.Params, []NodeReport, error) {
	started := time.Now()
	m := newMatcher(*o.Matching, Canonical(src), anchor)
	if err := m.fits(); err != nil {
		return nil, nil, err
	}
	if err := m.collect(ctx, o.Calibration); err != nil {
		return nil, nil, err
	}
	best, found := math.Inf(-1), []*mat.Dense(nil)
	for try := range m.Restarts + 1 {
		if err := m.climb(ctx, try); err != nil {
			return nil, nil, err
		}
		if m.objective > best {
			best, found = m.objective, m.maps
		}
	}
	m.maps = found
	if err := m.learn(ctx); err != nil {
		return nil, nil, err
	}
	moved := m.move()
	nodes := m.report(source, moved, time.Since(started))
	for _, n := range nodes {
		o.Observe(n)
	}
	return moved.Params, nodes, nil
}

func newMatcher(how Matching, src, anchor *models.Model) *matcher {
	m := &matcher{Matching: how, src: src, anchor: anchor, scale: make([]float64, len(src.Graph.Nodes))}
	if m.Rounds <= 0 {
		m.Rounds = 20
	}
	m.spaces, m.of = src.Graph.Spaces()
	wide, _ := anchor.Graph.Spaces()
	m.maps, m.moments = make([]*mat.Dense, len(m.spaces)), make([]*mat.Dense, len(m.spaces))
	for _, s := range wide {
		m.wide = append(m.wide, s.Units)
	}
	for i, n := range src.Graph.Nodes {
		var x, y float64
		for k, p := range n.Params {
			x += square(fetch(src.Params, p).data)
			y += square(fetch(anchor.Params, anchor.Graph.Nodes[i].Params[k]).data)
		}
		if x > 0 && y > 0 {
			m.scale[i] = 1 / math.Sqrt(x*y)
		}
	}
	return m
}

// fits checks that widths differ in spaces only: what has a fixed basis, such as
// a residual stream under fixed positions, has no map into another width.
func (m *matcher) fits() error {
	for i, n := range m.src.Graph.Nodes {
		for x, p := range n.Params {
			to := m.anchor.Graph.Nodes[i].Params[x].Shape
			for k, axis := range p.Axes {
				if m.space(n, axis) < 0 && p.Shape[k] != to[k] {
					return &MismatchError{fmt.Sprintf("axis %d of tensor %q, whose basis is fixed,", k, p.Name), fmt.Sprint(p.Shape), fmt.Sprint(to)}
				}
			}
		}
	}
	return nil
}

func square(v []float32) float64 {
	var s float64
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	return s
}

// climb finds maps from nothing, or, on a further try, from random ones.
func (m *matcher) climb(ctx context.Context, try int) error {
	m.maps, m.objective = make([]*mat.Dense, len(m.spaces)), 0
	updates := m.updates()
	if try > 0 {
		rng := rand.New(rand.NewPCG(m.Seed, uint64(try)))
		for _, u := range updates[1:] {
			u.random(rng)
		}
	}
	for round := range m.Rounds {
		before := m.objective
		for _, u := range updates {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := u.climb(ctx); err != nil {
				return err
			}
		}
		if round > 0 && m.objective-before <= still*math.Abs(m.objective) {
			break
		}
	}
	return nil
}

// gain is the derivative of the objective by the map of space k [n × m]: ⟨gain,
// S⟩ is what S is worth while the other maps stay. What meets a map that is
// not known yet does not count.
func (m *matcher) gain(k int) *mat.Dense {
	out := mat.NewDense(m.spaces[k].Units, m.wide[k], nil)
	touching := 0
	for i, n := range m.src.Graph.Nodes {
		for x, p := range n.Params {
			axis := m.axis(n, p, k)
			if axis < 0 || m.scale[i] == 0 {
				continue
			}
			touching++
			w, ok := m.along(n, x, axis)
			if !ok || m.Mix >= 1 {
				continue
			}
			a := fetch(m.anchor.Params, m.anchor.Graph.Nodes[i].Params[x])
			add(out, w.first(axis), a.first(axis), (1-m.Mix)*m.scale[i])
		}
	}
	if m.moments[k] != nil {
		var part mat.Dense
		part.Scale(m.Mix*float64(max(touching, 1)), m.moments[k])
		out.Add(out, &part)
	}
	return out
}

// axis returns the axis of p that lies in space k, -1 where none or more than
// one does: what is quadratic in a map is left out.
func (m *matcher) axis(n *graph.Node, p graph.Param, k int) int {
	at := -1
	for x := range p.Axes {
		if m.space(n, p.Axes[x]) == k {
			if at >= 0 {
				return -1
			}
			at = x
		}
	}
	return at
}

// space returns the space that an axis of a parameter of n lies in, or -1.
func (m *matcher) space(n *graph.Node, axis graph.Axis) int {
	if at := n.Along(axis); at != nil {
		return m.of[at.ID]
	}
	return -1
}

// along returns parameter x of n carried along all axes but one, and whether
// their maps are known.
func (m *matcher) along(n *graph.Node, x, but int) (tensor, bool) {
	p := n.Params[x]
	w := fetch(m.src.Params, p)
	for a, axis := range p.Axes {
		k := m.space(n, axis)
		if a == but || k < 0 {
			continue
		}
		if m.maps[k] == nil {
			return w, false
		}
		w = w.along(a, byColumns(m.maps[k]))
	}
	return w, true
}

// move returns the source in the basis of the anchor.
func (m *matcher) move() *models.Model {
	return Canonical(m.anchor.With(m.moved())) // unequal widths put a factor into the norms
}

// moved returns the parameters of the source carried by all maps.
func (m *matcher) moved() models.Params {
	out := models.Params{}
	for i, n := range m.src.Graph.Nodes {
		for x := range n.Params {
			w, _ := m.along(n, x, -1)
			p := m.anchor.Graph.Nodes[i].Params[x]
			store(out, p, w, m.anchor.Params[p.Name].DType)
		}
	}
	return out
}

// learn refines the maps of the spaces that may turn.
func (m *matcher) learn(ctx context.Context) error {
	if m.Learner == nil {
		return nil
	}
	var which []int
	var spaces []graph.Space
	free, _ := m.anchor.Graph.Spaces()
	for k, s := range free {
		if s.Group != graph.Permute && m.maps[k] != nil {
			which, spaces = append(which, k), append(spaces, s)
		}
	}
	turns, err := m.Learner.Learn(ctx, m.move(), m.anchor, spaces)
	if err != nil {
		return err
	}
	if len(turns) != len(which) {
		return fmt.Errorf("the learner returned %d rotations for %d spaces", len(turns), len(which))
	}
	for i, k := range which {
		turn, err := nearest(spaces[i], turns[i])
		if err != nil {
			return err
		}
		s := &mat.Dense{}
		s.Mul(m.maps[k], turn)
		m.maps[k] = s
	}
	return nil
}

// report says how well every node fits now.
func (m *matcher) report(source int, moved *models.Model, took time.Duration) []NodeReport {
	var out []NodeReport
	for i, n := range m.src.Graph.Nodes {
		r := NodeReport{Source: source, Name: n.Name, Flow: n.Flow(), Tied: n.Tie != nil, Diagonal: 1}
		r.Duration = took / time.Duration(len(m.src.Graph.Nodes))
		if len(n.Params) > 0 {
			r.Cost = mismatch(moved, m.anchor, i)
		}
		if k := m.of[i]; k >= 0 && m.maps[k] != nil {
			s := m.maps[k]
			r.Diagonal = diagonal(s)
			r.push = func() *mat.Dense { return mat.DenseCopyOf(s) }
		}
		out = append(out, r)
	}
	return out
}

// mismatch is ‖W − W_anchor‖² / (‖W‖² + ‖W_anchor‖²) of a node: 0 where both
// are the same, 1 where they have nothing in common.
func mismatch(m, anchor *models.Model, id int) float64 {
	var apart, sum float64
	for _, p := range anchor.Graph.Nodes[id].Params {
		x, y := fetch(m.Params, p).data, fetch(anchor.Params, p).data
		sum += square(x) + square(y)
		for i := range x {
			d := float64(x[i]) - float64(y[i])
			apart += d * d
		}
	}
	if sum == 0 {
		return 0
	}
	return apart / sum
}

// diagonal is the share of the squares of s on its diagonal.
func diagonal(s *mat.Dense) float64 {
	var on, all float64
	n, _ := s.Dims()
	for i := range n {
		for j, v := range s.RawRowView(i) {
			all += v * v
			if i == j {
				on += v * v
			}
		}
	}
	return on / all
}

// collect gathers what activations say about every space.
func (m *matcher) collect(ctx context.Context, c Calibration) error {
	if m.Mix == 0 {
		return nil
	}
	if c == nil {
		return fmt.Errorf("matching on activations: %w", ErrNoCalibration)
	}
	var want align.Want
	var space []int
	for _, n := range m.anchor.Graph.Nodes {
		if k := m.of[n.ID]; k >= 0 && telling(m.spaces[k], n) {
			want.Sites, space = append(want.Sites, []*graph.Node{n}), append(space, k)
		}
	}
	stats, err := c.Collect(ctx, m.src, m.anchor, want)
	if err != nil {
		return err
	}
	if len(stats.Moments) != len(space) {
		return fmt.Errorf("the calibration returned %d moments for %d sites", len(stats.Moments), len(space))
	}
	counts := make([]float64, len(m.spaces))
	for i, k := range space {
		if m.moments[k] == nil {
			m.moments[k] = mat.NewDense(m.spaces[k].Units, m.wide[k], nil)
		}
		counts[k]++
		m.moments[k].Add(m.moments[k], agreement(stats.Moments[i], m.spaces[k].Group))
	}
	for k, c := range counts {
		if c > 0 {
			m.moments[k].Scale(1/c, m.moments[k])
		}
	}
	return nil
}

// telling reports whether the activations of n tell how the units of its space
// lie: the normalised stream, queries, keys, values and what attention makes
// of them, and units after their activation function.
func telling(s graph.Space, n *graph.Node) bool {
	switch s.Group {
	case graph.Rotate:
		return n.Op == graph.Norm
	case graph.Heads:
		return n.Op == graph.Linear || n.Op == graph.Attend
	}
	return n.Op == graph.Act || n.Op == graph.Norm
}

// agreement scales cross moments so that a perfect match is worth 1:
// covariances over the whole where units may turn, correlations of single units
// where they may not.
func agreement(m *align.Moments, g graph.Group) *mat.Dense {
	n, c := m.Cross.Dims()
	out := mat.NewDense(n, c, nil)
	var x, y float64
	for _, v := range m.VarX {
		x += v
	}
	for _, v := range m.VarY {
		y += v
	}
	for i := range n {
		for j, row := 0, out.RawRowView(i); j < c; j++ {
			s := math.Sqrt(x * y)
			if g == graph.Permute {
				s = math.Sqrt(m.VarX[i]*m.VarY[j]) * float64(min(n, c))
			}
			if s > 0 {
				row[j] = m.Cross.At(i, j) / s
			}
		}
	}
	return out
}
