package fuse

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// A matcher finds the maps of one source.
type matcher struct {
	how           Matching
	src, anchor   *models.Model // in canonical form
	spaces        []graph.Space // of the source
	anchorSpaces  []graph.Space // the same of the anchor
	of            []int         // by node: index of its space, -1 where its basis is fixed
	maps          []*unitMap    // by space; nil while unknown
	duals         []*unitMap    // the same for dual axes, see [graph.Space.Dual]; nil where maps are orthogonal
	target        *models.Model // what the source is to agree with: a sum of models, every node of norm 1
	anchorMoments []*mat.Dense  // by space: what the activations of source and anchor say [n × m]; nil without
	moments       []*mat.Dense  // the same of source and target
	scale         []float64     // by node of the source: 1 / ‖W‖
	objective     float64       // gained since the last reset
	progress      func(round int)
	momentBytes   int64 // limit of [Settings]
}

// matchAnchor matches the source with the anchor alone.
func (m *matcher) matchAnchor(ctx context.Context, c Calibration) (err error) {
	if err := m.checkWidths(); err != nil {
		return err
	}
	if m.anchorMoments, err = m.collect(ctx, c, m.anchor); err != nil {
		return err
	}
	if m.target, err = unitNorm(m.anchor); err != nil {
		return err
	}
	m.moments = m.anchorMoments
	best, found := math.Inf(-1), []*unitMap(nil)
	for try := range m.how.Restarts + 1 {
		m.resetMaps(try)
		if err := m.ascend(ctx); err != nil {
			return err
		}
		if m.objective > best {
			best, found = m.objective, m.maps
		}
	}
	m.maps, m.objective = found, best
	return nil
}

func newMatcher(how Matching, src, anchor *models.Model) (*matcher, error) {
	m := &matcher{how: how, progress: func(int) {}, src: src, anchor: anchor}
	if m.how.Rounds <= 0 {
		m.how.Rounds = defaultRounds
	}
	if m.how.Solver == nil {
		m.how.Solver = ot.EMD{}
	}
	m.spaces, m.of = movableSpaces(src.Graph)
	m.anchorSpaces, _ = anchor.Graph.Spaces()
	var err error
	m.scale, err = inverseNorms(src)
	return m, err
}

// movableSpaces returns the spaces of a network and, by node, the index of its own, -1 where
// its basis is fixed or nothing may be done to its units.
func movableSpaces(g *graph.Graph) (spaces []graph.Space, of []int) {
	spaces, of = g.Spaces()
	for i, k := range of {
		if k >= 0 && spaces[k].Group == graph.Trivial {
			of[i] = -1
		}
	}
	return spaces, of
}

// checkWidths checks that widths differ in spaces only: what has a fixed basis, such as
// a residual stream under fixed positions, has no map into another width, and neither
// have heads under rotary positions.
func (m *matcher) checkWidths() error {
	for k, s := range m.spaces {
		a := m.anchorSpaces[k]
		if s.Planes > 0 && s.Units/s.Heads != a.Units/a.Heads {
			return &MismatchError{"width of the heads of " + s.Attend.Name + ", under rotary positions,",
				fmt.Sprint(s.Units / s.Heads), fmt.Sprint(a.Units / a.Heads)}
		}
		if s.Shared != a.Shared {
			return &MismatchError{"number of queries that share keys in " + s.Attend.Name, fmt.Sprint(s.Shared),
				fmt.Sprint(a.Shared)}
		}
	}
	for i, n := range m.src.Graph.Nodes {
		for x, p := range n.Params {
			to := m.anchor.Graph.Nodes[i].Params[x].Shape
			for k, axis := range p.Axes {
				if m.spaceOf(n, axis) < 0 && p.Shape[k] != to[k] {
					return &MismatchError{fmt.Sprintf("axis %d of tensor %q, whose basis is fixed,", k, p.Name), fmt.Sprint(p.Shape),
						fmt.Sprint(to)}
				}
			}
		}
	}
	return nil
}

func sumOfSquares(v []float32) float64 {
	var s float64
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	return s
}

// resetMaps forgets the maps or, for a further try, draws random ones.
func (m *matcher) resetMaps(try int) {
	m.maps, m.duals, m.objective = make([]*unitMap, len(m.spaces)), make([]*unitMap, len(m.spaces)), 0
	if try == 0 {
		return
	}
	rng := rand.New(rand.NewPCG(m.how.Seed, uint64(try)))
	for _, u := range m.updates()[1:] {
		u.randomise(rng)
	}
}

// freeFixedStreams gives pinned streams, which are as wide in the anchor, maps that may be
// turned.
func (m *matcher) freeFixedStreams() {
	for _, s := range m.src.Graph.FixedStreams() {
		for _, n := range s.Nodes {
			m.of[n.ID] = len(m.spaces)
		}
		m.spaces, m.anchorSpaces = append(m.spaces, s), append(m.anchorSpaces, s)
		m.maps, m.duals = append(m.maps, newUnitMap(identity(s.Units))), append(m.duals, nil)
	}
}

// ascend improves the maps until a round gains nothing.
func (m *matcher) ascend(ctx context.Context) error {
	schedule := m.schedule()
	for round := range m.how.Rounds {
		m.progress(round)
		before := m.objective
		for _, w := range schedule {
			if err := w.ascend(ctx); err != nil {
				return err
			}
		}
		if round > 0 && m.objective-before <= minGain*math.Abs(m.objective) {
			break
		}
	}
	return nil
}

// newSlope returns a slope of zeros for the map of space k.
func (m *matcher) newSlope(k int) slope {
	n, c := m.spaces[k].Units, m.anchorSpaces[k].Units
	d := slope{maps: mat.NewDense(n, c, nil)}
	if m.spaces[k].Group == graph.SignedPermutation {
		d.magnitudes = mat.NewDense(n, c, nil)
	}
	return d
}

// derivative is the derivative of the objective by the map of space k [n × m] while
// the other maps stay. What meets a map that is not known yet does not count.
func (m *matcher) derivative(ctx context.Context, k int) (slope, error) {
	out, s := m.newSlope(k), m.spaces[k]
	touching := 0
	for i, n := range m.src.Graph.Nodes {
		for x, p := range n.Params {
			axis := m.axisIn(n, p, k)
			if axis < 0 || m.scale[i] == 0 || s.Group == graph.Orthogonal && p.Axes[axis] == graph.Gain {
				continue
			}
			touching++
			if m.how.Mix >= 1 || !m.mapsKnown(n, p, axis) {
				continue
			}
			w, err := readPart(m.src, p)
			if err != nil {
				return slope{}, err
			}
			a, err := readPart(m.target, m.anchor.Graph.Nodes[i].Params[x])
			if err != nil {
				return slope{}, err
			}
			to := out.maps
			if out.magnitudes != nil && !s.TakesSigns(n, p.Axes[axis]) {
				to = out.magnitudes
			}
			weight := (1 - m.how.Mix) * m.scale[i]
			err = interruptible.Run(ctx, func() error {
				w := carry(m, n, p, w, axis)
				at := n.Along(p.Axes[axis])
				if s.Copies(at) == 1 {
					addProduct(to, w.withAxisFirst(axis), a.withAxisFirst(axis), weight)
					return nil
				}
				part := mat.NewDense(at.Units, m.anchor.Graph.Nodes[at.ID].Units, nil)
				addProduct(part, w.withAxisFirst(axis), a.withAxisFirst(axis), weight)
				to.Add(to, m.headBlocks(k).ofSharing(part, s.Copies(at)))
				return nil
			})
			if err != nil {
				return slope{}, err
			}
		}
	}
	if m.moments[k] != nil {
		var part mat.Dense
		part.Scale(m.how.Mix*float64(max(touching, 1)), m.moments[k])
		out.maps.Add(out.maps, &part)
	}
	return out, nil
}

// headBlocks returns the blocks of heads that the map of space k consists of.
func (m *matcher) headBlocks(k int) headBlocks {
	return headBlocks{m.spaces[k].Heads, m.anchorSpaces[k].Heads}
}

// axisIn returns the axis of p that lies in space k, -1 where none or more than
// one does: what is quadratic in a map is left out.
func (m *matcher) axisIn(n *graph.Node, p graph.Param, k int) int {
	at := -1
	for x := range p.Axes {
		if m.spaceOf(n, p.Axes[x]) == k {
			if at >= 0 {
				return -1
			}
			at = x
		}
	}
	return at
}

// spaceOf returns the space that an axis of a parameter of n lies in, or -1.
func (m *matcher) spaceOf(n *graph.Node, axis graph.Axis) int {
	if at := n.Along(axis); at != nil {
		return m.of[at.ID]
	}
	return -1
}

// mapAlong returns the map that an axis of n in a space goes by; nil while unknown.
func (m *matcher) mapAlong(n *graph.Node, axis graph.Axis) *unitMap {
	k := m.spaceOf(n, axis)
	s, by := m.spaces[k], m.maps[k]
	switch {
	case by == nil:
		return nil
	case m.duals[k] != nil && s.Dual(n, axis):
		by = m.duals[k]
	case s.Group == graph.SignedPermutation && !s.TakesSigns(n, axis):
		by = by.magnitudes()
	}
	if c := s.Copies(n.Along(axis)); c > 1 {
		by = m.headBlocks(k).ofShared(by, c)
	}
	return by
}

// along implements [basis]. The maps of spaces must be known.
func (m *matcher) along(n *graph.Node, axis graph.Axis) *mover {
	k := m.spaceOf(n, axis)
	if k < 0 {
		return nil
	}
	by := m.mapAlong(n, axis)
	if axis != graph.Gain {
		out := by.mover()
		return &out
	}
	factor := 1.0
	if m.spaces[k].Group.Rotates() || n.RMS {
		factor = math.Sqrt(float64(m.spaces[k].Units) / float64(m.anchorSpaces[k].Units))
	}
	out := bySquares(by, factor)
	return &out
}

// mapsKnown reports whether the maps of all axes of p but one are known.
func (m *matcher) mapsKnown(n *graph.Node, p graph.Param, except int) bool {
	for a, axis := range p.Axes {
		if k := m.spaceOf(n, axis); a != except && k >= 0 && m.maps[k] == nil {
			return false
		}
	}
	return true
}

// movedModel returns the source in the basis of the anchor, unless the context ends.
func (m *matcher) movedModel(ctx context.Context) (*models.Model, error) {
	moved, err := interruptible.Value(ctx, m.moved)
	if err != nil {
		return nil, err
	}
	return canonical(moved), nil // unequal widths put a factor into the norms
}

// original returns the source and its maps.
func (m *matcher) original() Original {
	return Original{m.src, func(n *graph.Node) *mat.Dense {
		if by := m.outputMap(m.src.Graph.Nodes[n.ID]); by != nil {
			return by.dense()
		}
		return nil
	}}
}

// outputMap returns the map that what a node writes is carried by, or nil.
func (m *matcher) outputMap(n *graph.Node) *unitMap {
	if k := m.of[n.ID]; k < 0 || m.maps[k] == nil {
		return nil
	}
	return m.mapAlong(n, graph.Out)
}

// moved returns the source carried by all maps.
func (m *matcher) moved() (*models.Model, error) {
	c := carriedTensors{m.src, m.src.Graph, m.anchor.Graph, m, partsByName(m.anchor.Graph)}
	return heldAs(m.anchor, m.anchor.Computed(c.Tensor))
}
