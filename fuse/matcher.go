package fuse

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// matcher holds the maps of one source.
type matcher struct {
	Matching
	src, anchor *models.Model // canonical
	spaces      []graph.Space // of the source
	wide        []graph.Space // the same of the anchor
	of          []int         // space of each node, -1 where its basis is fixed
	maps        []*mat.Dense  // of each space [n × m]; nil while unknown
	duals       []*mat.Dense  // the same of dual axes, see [graph.Space.Dual]; nil where maps are rotations
	target      models.Params // what the source is to agree with: a sum of models, every node of norm 1
	own         []*mat.Dense  // of each space: what activations of source and anchor say [n × m]; nil without
	moments     []*mat.Dense  // the same of source and target
	scale       []float64     // of each node of the source: 1 / ‖W‖
	objective   float64       // gained since the start
	progress    func(int)     // is told the round
}

// find matches the source with the anchor alone.
func (m *matcher) find(ctx context.Context, c Calibration) (err error) {
	if err := m.fits(); err != nil {
		return err
	}
	if m.own, err = m.collect(ctx, c, m.anchor); err != nil {
		return err
	}
	m.target, m.moments = directions(m.anchor), m.own
	best, found := math.Inf(-1), []*mat.Dense(nil)
	for try := range m.Restarts + 1 {
		m.start(try)
		if err := m.climb(ctx); err != nil {
			return err
		}
		if m.objective > best {
			best, found = m.objective, m.maps
		}
	}
	m.maps, m.objective = found, best
	return nil
}

func newMatcher(how Matching, src, anchor *models.Model) *matcher {
	m := &matcher{Matching: how, progress: func(int) {}, src: src, anchor: anchor, scale: make([]float64, len(src.Graph.Nodes))}
	if m.Rounds <= 0 {
		m.Rounds = 20
	}
	if m.Solver == nil {
		m.Solver = ot.EMD{}
	}
	m.spaces, m.of = src.Graph.Spaces()
	m.wide, _ = anchor.Graph.Spaces()
	for i, k := range m.of {
		if k >= 0 && m.spaces[k].Group == graph.Trivial {
			m.of[i] = -1 // nothing may be done to its units
		}
	}
	for i, n := range src.Graph.Nodes {
		m.scale[i] = inverse(n, src.Params)
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

// inverse is 1 / ‖W‖ of a node, or 0.
func inverse(n *graph.Node, params models.Params) float64 {
	var sum float64
	for _, p := range n.Params {
		sum += square(fetch(params, p).data)
	}
	if sum == 0 {
		return 0
	}
	return 1 / math.Sqrt(sum)
}

// directions returns the parameters of m, those of every node over their norm.
func directions(m *models.Model) models.Params {
	out := models.Params{}
	for _, n := range m.Graph.Nodes {
		c := float32(inverse(n, m.Params))
		for _, p := range n.Params {
			w := fetch(m.Params, p)
			unit := tensor{w.shape, make([]float32, len(w.data))}
			for i, v := range w.data {
				unit.data[i] = c * v
			}
			store(out, p, unit, "")
		}
	}
	return out
}

func square(v []float32) float64 {
	var s float64
	for _, x := range v {
		s += float64(x) * float64(x)
	}
	return s
}

// start forgets the maps or, for a further try, draws random ones.
func (m *matcher) start(try int) {
	m.maps, m.duals, m.objective = make([]*mat.Dense, len(m.spaces)), make([]*mat.Dense, len(m.spaces)), 0
	if try == 0 {
		return
	}
	rng := rand.New(rand.NewPCG(m.Seed, uint64(try)))
	for _, u := range m.updates()[1:] {
		u.random(rng)
	}
}

// unpin gives pinned streams, which are as wide in the anchor, maps that may be
// turned.
func (m *matcher) unpin() {
	for _, s := range m.src.Graph.FixedStreams() {
		for _, n := range s.Nodes {
			m.of[n.ID] = len(m.spaces)
		}
		m.spaces, m.wide = append(m.spaces, s), append(m.wide, s)
		m.maps, m.duals = append(m.maps, identity(s.Units)), append(m.duals, nil)
	}
}

// climb improves the maps until a round gains nothing.
func (m *matcher) climb(ctx context.Context) error {
	waves := m.waves()
	for round := range m.Rounds {
		m.progress(round)
		before := m.objective
		for _, w := range waves {
			if err := w.climb(ctx); err != nil {
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
	out := mat.NewDense(m.spaces[k].Units, m.wide[k].Units, nil)
	touching := 0
	for i, n := range m.src.Graph.Nodes {
		for x, p := range n.Params {
			axis := m.axis(n, p, k)
			if axis < 0 || m.scale[i] == 0 {
				continue
			}
			touching++
			if m.Mix >= 1 || !m.known(n, p, axis) {
				continue
			}
			w := carry(m, n, p, fetch(m.src.Params, p), axis)
			a := fetch(m.target, m.anchor.Graph.Nodes[i].Params[x])
			addProduct(out, w.withAxisFirst(axis), a.withAxisFirst(axis), (1-m.Mix)*m.scale[i])
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

// by returns the map that an axis of n in a space goes by; nil while unknown.
func (m *matcher) by(n *graph.Node, axis graph.Axis) *mat.Dense {
	k := m.space(n, axis)
	if m.duals[k] != nil && m.spaces[k].Dual(n, axis) {
		return m.duals[k]
	}
	return m.maps[k]
}

// along implements [basis]. The maps of spaces must be known.
func (m *matcher) along(n *graph.Node, axis graph.Axis) *mover {
	k := m.space(n, axis)
	if k < 0 {
		return nil
	}
	by := m.by(n, axis)
	if axis != graph.Gain {
		out := byColumns(by)
		return &out
	}
	factor := 1.0
	if m.spaces[k].Group == graph.Orthogonal {
		factor = math.Sqrt(float64(m.spaces[k].Units) / float64(m.wide[k].Units))
	}
	out := bySquares(by, factor)
	return &out
}

// known reports whether the maps of all axes of p but one are known.
func (m *matcher) known(n *graph.Node, p graph.Param, except int) bool {
	for a, axis := range p.Axes {
		if k := m.space(n, axis); a != except && k >= 0 && m.maps[k] == nil {
			return false
		}
	}
	return true
}

// move returns the source in the basis of the anchor.
func (m *matcher) move() *models.Model {
	return canonical(m.anchor.With(m.moved())) // unequal widths put a factor into the norms
}

// moved returns the parameters of the source carried by all maps.
func (m *matcher) moved() models.Params {
	out := models.Params{}
	for i, n := range m.src.Graph.Nodes {
		for x, p := range n.Params {
			w := carry(m, n, p, fetch(m.src.Params, p), -1)
			to := m.anchor.Graph.Nodes[i].Params[x]
			store(out, to, w, m.anchor.Params[to.Name].DType)
		}
	}
	return out
}
