package modeltest

import (
	"context"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// A Relabelling is an aligner whose plan for every node is the permutation of the
// node's space, and the identity where the basis of the node is fixed.
type Relabelling struct {
	Of     []int     // space of each node, -1 where its basis is fixed
	Plans  []ot.Plan // of each space
	spaces []graph.Space
	shared []ot.Plan // of keys and values, in each space where several queries share them
	graph  *graph.Graph
}

// Relabel draws a permutation for every space of g. Units of an attention layer
// stay within their head, and in their place where rotary positions turn them. Heads
// are permuted as a whole, in the same way for the queries, keys and values of a
// layer: those of keys and values with all that share them, and these among
// themselves.
func Relabel(g *graph.Graph, seed uint64) (*Relabelling, error) {
	rng := rand.New(rand.NewPCG(seed, 3))
	spaces, of := g.Spaces()
	r := &Relabelling{Of: of, graph: g, spaces: spaces}
	order := map[*graph.Node][]int{}
	for _, s := range spaces {
		if s.Attend == nil {
			if err := r.add(shuffled(rng, s.Units), nil); err != nil {
				return nil, err
			}
			continue
		}
		if order[s.Attend] == nil {
			order[s.Attend] = headOrder(rng, s)
		}
		if err := r.add(headUnits(rng, s, order[s.Attend])); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// add adds the permutation of a space, and that of its keys and values.
func (r *Relabelling) add(units, shared []int) error {
	plan, err := ot.PermutationPlan(units)
	r.Plans, r.shared = append(r.Plans, plan), append(r.shared, ot.Plan{})
	if err == nil && shared != nil {
		r.shared[len(r.shared)-1], err = ot.PermutationPlan(shared)
	}
	return err
}

// shuffled returns a permutation that is not the identity, which would prove nothing.
func shuffled(rng *rand.Rand, n int) []int {
	perm := rng.Perm(n)
	if slices.IsSorted(perm) && n > 1 {
		perm[0], perm[1] = perm[1], perm[0]
	}
	return perm
}

// headOrder draws an order of heads in which those that share keys stay together.
func headOrder(rng *rand.Rand, s graph.Space) []int {
	var out []int
	for _, k := range shuffled(rng, s.Heads/s.Shared) {
		for _, h := range rng.Perm(s.Shared) {
			out = append(out, k*s.Shared+h)
		}
	}
	return out
}

// headUnits draws the order of the units of heads that come in a given order, and of
// their keys and values.
func headUnits(rng *rand.Rand, s graph.Space, heads []int) (units, shared []int) {
	d := s.Units / s.Heads
	var within []int
	for i, h := range heads {
		if i%s.Shared == 0 {
			within = headUnitOrder(rng, s)
			for _, u := range within {
				shared = append(shared, h/s.Shared*d+u)
			}
		}
		for _, u := range within {
			units = append(units, h*d+u)
		}
	}
	return units, shared
}

// headUnitOrder draws an order of the units of a head that its group allows.
func headUnitOrder(rng *rand.Rand, s graph.Space) []int {
	d := s.Units / s.Heads
	free := d - 2*s.Planes // rotary positions leave them as they are
	if s.Group != graph.Headwise && s.Group != graph.HeadPlanes {
		free = 0
	}
	out := make([]int, d)
	for i := range out {
		out[i] = i
	}
	for i, u := range rng.Perm(free) {
		out[d-free+i] = d - free + u
	}
	return out
}

// Relabelled returns m with the units of every space permuted by a [Relabelling]. It
// computes the same as m.
func Relabelled(ctx context.Context, m *models.Model, seed uint64) (*models.Model, error) {
	r, err := Relabel(m.Graph, seed)
	if err != nil {
		return nil, err
	}
	return r.Apply(ctx, m)
}

// Apply returns m with its units permuted along the axes of its graph.
func (r *Relabelling) Apply(ctx context.Context, m *models.Model) (*models.Model, error) {
	aligned, _, err := fuse.Align(ctx, m, []*models.Model{m}, fuse.Transport{Aligner: r}, nil)
	if err != nil {
		return nil, err
	}
	return m.With(aligned.Others[0]), nil
}

// push returns the permutation of the units of n as a matrix, nil where its basis is
// fixed.
func (r *Relabelling) push(n *graph.Node) *mat.Dense {
	if k := r.Of[n.ID]; k >= 0 {
		return r.plan(n).Push()
	}
	return nil
}

// plan returns the permutation of the units of n.
func (r *Relabelling) plan(n *graph.Node) ot.Plan {
	k := r.Of[n.ID]
	if r.spaces[k].Copies(n) > 1 {
		return r.shared[k]
	}
	return r.Plans[k]
}

// moves reports whether r permutes an axis of the parameters of n.
func (r *Relabelling) moves(n *graph.Node, a graph.Axis) bool {
	along := n.Along(a)
	return along != nil && r.Of[along.ID] >= 0
}

// Needs implements [align.Aligner].
func (*Relabelling) Needs() align.Needs { return align.Needs{} }

// Align implements [align.Aligner].
func (r *Relabelling) Align(_ context.Context, sites ...align.Site) (align.Result, error) {
	if n := r.graph.Find(sites[0].Name); r.Of[n.ID] >= 0 {
		return align.Result{Plan: r.plan(n)}, nil
	}
	return align.Result{}, nil
}
