package modeltest

import (
	"context"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A mutation declares one axis of one parameter to be fixed.
type mutation struct {
	node        *graph.Node
	param, axis int
}

func (u mutation) String() string {
	return fmt.Sprintf("axis %d of %s", u.axis, u.node.Params[u.param].Name)
}

// mutations returns one mutation for every axis of g that a relabelling permutes.
func mutations(g *graph.Graph, r *Relabelling) (out []mutation) {
	for _, n := range g.Nodes {
		for i, p := range n.Params {
			for k, axis := range p.Axes {
				if r.moves(n, axis) {
					out = append(out, mutation{n, i, k})
				}
			}
		}
	}
	return out
}

// of returns a copy of g with the mutation.
func (u mutation) of(g *graph.Graph) *graph.Graph {
	nodes := make([]*graph.Node, len(g.Nodes))
	for i, n := range g.Nodes {
		c := *n
		c.Args = slices.Clone(n.Args)
		for k, a := range c.Args {
			c.Args[k] = nodes[a.ID]
		}
		nodes[i] = &c
	}
	for _, n := range nodes {
		if n.Tie != nil {
			n.Tie = nodes[n.Tie.ID]
		}
	}
	n := nodes[u.node.ID]
	n.Params = slices.Clone(n.Params)
	n.Params[u.param].Axes = slices.Clone(n.Params[u.param].Axes)
	n.Params[u.param].Axes[u.axis] = graph.Fixed
	return &graph.Graph{Nodes: nodes}
}

// hidden reports whether the mutation cannot change the logits. A bias of the keys
// adds the same to all scores of a query, and softmax ignores that.
func (u mutation) hidden(g *graph.Graph) bool {
	return u.node.Params[u.param].Role == graph.RoleBias && slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool {
		return n.Op == graph.Attend && n.Args[1] == u.node
	})
}

// effect returns how far the logits of m move when its units are permuted along the
// axes of a graph with the mutation.
func (u mutation) effect(ctx context.Context, m *models.Model, r *Relabelling, s subject) (float64, error) {
	wrong := *m
	wrong.Graph = u.of(m.Graph)
	moved, err := r.Apply(ctx, &wrong)
	if err != nil {
		return 0, err
	}
	return apart(outputsIn(m, s.batch, r.push), Outputs(m.With(moved.Params), s.batch)), nil
}
