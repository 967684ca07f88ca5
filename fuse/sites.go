package fuse

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// pairedSites says which solved nodes are solved together: the factors of a product,
// and queries with keys unless they are separate. Where queries share keys they have
// other units, and plans of their own. A node alone is its own site.
func pairedSites(g *graph.Graph, qk QK) map[int][]int {
	sites := map[int][]int{}
	for _, n := range g.Nodes {
		if n.Flow() == graph.Solve && n.Tie == nil {
			sites[n.ID] = []int{n.ID}
		}
	}
	for _, n := range g.Nodes {
		if n.Op != graph.Mul && (n.Op != graph.Attend || qk == Separate || n.Shared() > 1) {
			continue
		}
		x, y := n.Args[0].Solved().ID, n.Args[1].Solved().ID
		if x != y && sites[x] != nil && sites[y] != nil {
			sites[x] = []int{min(x, y), max(x, y)}
			sites[y] = sites[x]
		}
	}
	return sites
}

// siteOf returns the nodes of the site of n in order.
func (t *transportRun) siteOf(n *graph.Node) []*graph.Node {
	var out []*graph.Node
	for _, id := range t.sites[n.ID] {
		out = append(out, t.source.Graph.Nodes[id])
	}
	return out
}

// isStacked reports whether the units of a site are stacked: those of queries and keys
// may be, those of factors are the same.
func (t *transportRun) isStacked(site []*graph.Node) bool {
	return t.method.QK == Joint && len(site) > 1 && heads(t.source.Graph, site[0].ID) > 0
}

// visitOrder returns the nodes in an order in which those of a site follow each other:
// what one of them needs comes before all of them.
func (t *transportRun) visitOrder() []*graph.Node {
	var order []*graph.Node
	visited := make([]bool, len(t.source.Graph.Nodes))
	var visit func(n *graph.Node)
	visit = func(n *graph.Node) {
		site := t.siteOf(n)
		if site == nil {
			site = []*graph.Node{n}
		}
		if visited[n.ID] {
			return
		}
		for _, m := range site {
			visited[m.ID] = true
		}
		for _, m := range site {
			for _, a := range m.Args {
				visit(a)
			}
			if m.Tie != nil {
				visit(m.Tie)
			}
		}
		order = append(order, site...)
	}
	for _, n := range t.source.Graph.Nodes {
		visit(n)
	}
	return order
}

// lastUses finds, for the plan of each node, the place in the order of the last node that
// looks at it.
func (t *transportRun) lastUses() []int {
	last := make([]int, len(t.order))
	for i, n := range t.order {
		if site := t.siteOf(n); len(site) > 1 && site[0] == n {
			i += len(site) - 1 // waits for the rest of its site
		}
		last[n.ID] = max(last[n.ID], i)
		for _, a := range n.Args {
			last[a.ID] = max(last[a.ID], i)
		}
		if n.Tie != nil {
			last[n.Tie.ID] = max(last[n.Tie.ID], i)
		}
	}
	return last
}

// describe describes nodes, their units stacked, to the aligner.
func (t *transportRun) describe(nodes []*graph.Node) align.Site {
	n := nodes[0]
	s := align.Site{Name: n.Name, Out: n.Units, Table: n.Op == graph.Table, Moments: t.moments[n.ID],
		Heads: len(nodes) * heads(t.source.Graph, n.ID), AnchorHeads: len(nodes) * heads(t.anchor.Graph, n.ID),
		Planes: planes(t.source.Graph, n.ID)}
	if n.Op == graph.Linear {
		w, _ := n.Param(graph.RoleWeight)
		s.In = valueCount(w.Shape) / n.Units
	}
	s.Weights = func() (*mat.Dense, *mat.Dense, error) {
		var x, y mat.Dense
		for _, n := range nodes {
			a := t.anchorNode(n)
			pulled, err := t.pulledParams(n)
			if err != nil {
				return nil, nil, err
			}
			at := slices.IndexFunc(n.Params, func(p graph.Param) bool {
				return p.Role == graph.RoleWeight ||
					p.Role == graph.RoleRows
			})
			own, err := readPart(t.anchor, a.Params[at])
			if err != nil {
				return nil, nil, err
			}
			rx, ry := pulled[at].unitRows(n.Params[at].Axes), own.unitRows(a.Params[at].Axes)
			if x.IsEmpty() {
				x, y = *rx, *ry
				continue
			}
			var sx, sy mat.Dense
			sx.Stack(&x, rx)
			sy.Stack(&y, ry)
			x, y = sx, sy
		}
		return &x, &y, nil
	}
	return s
}

// heads returns the number of heads into which an attention divides the units of a
// node, 0 if none does.
func heads(g *graph.Graph, id int) int {
	for _, n := range g.Nodes {
		if n.Op != graph.Attend {
			continue
		}
		if n.Args[0].Solved().ID == id {
			return n.Heads
		}
		if n.Args[1].Solved().ID == id || n.Args[2].Solved().ID == id {
			return n.Heads / n.Shared()
		}
	}
	return 0
}

// planes returns the number of planes that rotary positions turn in each head of a node,
// 0 if none do.
func planes(g *graph.Graph, id int) int {
	for _, n := range g.Nodes {
		if n.Op == graph.Rotary && n.Solved().ID == id {
			return len(n.Rope.Frequencies)
		}
	}
	return 0
}

// branches lists the nodes whose magnitudes weigh branches; those of tables
// and constants are taken from their rows at once.
func (t *transportRun) branches() ([]*graph.Node, error) {
	var out []*graph.Node
	seen := map[int]bool{}
	for _, n := range t.anchor.Graph.Nodes {
		if n.Op != graph.Add {
			continue
		}
		for _, a := range n.Args {
			a = magnitudeNode(a)
			if seen[a.ID] {
				continue
			}
			seen[a.ID] = true
			switch a.Op {
			case graph.Table:
				p, _ := a.Param(graph.RoleRows)
				rows, err := readPart(t.anchor, p)
				if err != nil {
					return nil, err
				}
				t.magnitudes[a.ID] = magnitudes(a.Units, rows.data)
			case graph.Const:
				t.magnitudes[a.ID] = magnitudes(a.Units, a.Values())
			default:
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// magnitudeNode returns the node at which the magnitude of a branch is taken: a
// token put before a sequence does not count.
func magnitudeNode(n *graph.Node) *graph.Node {
	for n.Op == graph.Prepend {
		n = n.Args[0]
	}
	return n
}

// magnitudes returns the mean |row| of a table [.., units].
func magnitudes[T float32 | float64](units int, table []T) []float64 {
	out := make([]float64, units)
	for i, v := range table {
		out[i%units] += math.Abs(float64(v)) * float64(units) / float64(len(table))
	}
	return out
}
