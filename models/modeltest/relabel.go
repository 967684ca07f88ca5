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
	Of    []int     // space of each node, -1 where its basis is fixed
	Plans []ot.Plan // of each space
	graph *graph.Graph
}

// Relabel draws a permutation for every space of g. Units of an attention layer
// stay within their head. Heads are permuted as a whole, in the same way for the
// queries, keys and values of a layer.
func Relabel(g *graph.Graph, seed uint64) (*Relabelling, error) {
	rng := rand.New(rand.NewPCG(seed, 3))
	spaces, of := g.Spaces()
	r := &Relabelling{Of: of, graph: g}
	order := map[*graph.Node][]int{}
	for _, s := range spaces {
		perm := rng.Perm(s.Units)
		if s.Attend != nil {
			if order[s.Attend] == nil {
				order[s.Attend] = rng.Perm(s.Heads)
			}
			perm = nil
			for _, h := range order[s.Attend] {
				for _, i := range rng.Perm(s.Units / s.Heads) {
					perm = append(perm, h*(s.Units/s.Heads)+i)
				}
			}
		}
		if slices.IsSorted(perm) { // the identity would prove nothing
			perm[0], perm[1] = perm[1], perm[0]
		}
		plan, err := ot.PermutationPlan(perm)
		if err != nil {
			return nil, err
		}
		r.Plans = append(r.Plans, plan)
	}
	return r, nil
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
		return r.Plans[k].Push()
	}
	return nil
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
	if k := r.Of[r.graph.Find(sites[0].Name).ID]; k >= 0 {
		return align.Result{Plan: r.Plans[k]}, nil
	}
	return align.Result{}, nil
}
