package graph

import "slices"

// A Space is a set of nodes that share one set of units: relabelling the units
// of one node means relabelling those of all.
//
// Spaces with the same Attend share its heads. Queries with keys are one space
// and values another, but their heads may only be permuted together, in the same
// order.
//
// Where several heads of queries share one of keys and values, the nodes of a space
// are of two widths. The space then has the units of the wider ones, and a head of
// keys or values stands for the Shared heads in a row that it serves: they keep
// together and take the same map within heads.
type Space struct {
	Units  int     // of its widest nodes
	Group  Group   // what may be done to its units
	Heads  int     // heads that the units are divided into; 0 outside attention
	Shared int     // heads of queries for each head of keys and values; 0 outside attention
	Planes int     // units i and i + Planes of each head make a plane, for i below Planes; 0 without rotary positions
	Attend *Node   // the attention that divides them, nil outside attention
	Nodes  []*Node // in order

	gated map[*Node]bool // of a gated space: the nodes up to its activation, which take no signs
}

// Dual reports whether an axis of n transforms contravariantly: where the other
// axes of the space take an invertible map M, it takes M⁻ᵀ, which is the same
// for an orthogonal map. Keys do, which are contracted with queries, and so do
// layers that read the output of attention.
func (s Space) Dual(n *Node, a Axis) bool {
	return s.Group.WithinHeads() && (a == In || s.Attend.Args[1].carries(n))
}

// TakesSigns reports whether an axis of n takes the signs of a [SignedPermutation]:
// all do but those of gates, whose activation would not let a sign through, and
// gains, which are the diagonal of a map.
func (s Space) TakesSigns(n *Node, a Axis) bool { return a != Gain && !s.gated[n.Along(a)] }

// Copies returns how many heads in a row of the space each head of n stands for: 1,
// or Shared.
func (s Space) Copies(n *Node) int { return s.Units / n.Units }

// carries reports whether n is a, or a carries on the map of n.
func (a *Node) carries(n *Node) bool {
	for a != n {
		if a.Flow() != Carry {
			return false
		}
		a = a.Carrier()
	}
	return true
}

// IsResidual reports whether the space is a residual stream: one that branches
// are added to.
func (s Space) IsResidual() bool {
	return slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Op == Add })
}

// Spaces returns the spaces of g whose basis is free, in order of their first
// node, and for each node the index of its space, -1 where its basis is fixed.
// A space starts with the freedom of all invertible maps; each node that touches
// its units restricts it to what its operation grants.
func (g *Graph) Spaces() (spaces []Space, of []int) {
	spaces, of = g.unitedNodes(false)
	for _, n := range g.Nodes {
		if n.Op != Attend {
			continue
		}
		for _, a := range n.Args[:3] {
			if k := of[a.ID]; k >= 0 {
				spaces[k].Heads, spaces[k].Attend, spaces[k].Shared = n.Heads, n, n.Shared()
			}
		}
	}
	for k := range spaces {
		spaces[k].gated = gatedNodes(spaces[k])
		spaces[k].Planes = planes(spaces[k])
		spaces[k].Group = g.granted(spaces[k], func(n *Node) bool { return of[n.ID] == k })
	}
	return spaces, of
}

// FixedStreams returns the residual streams whose basis is fixed, such as by
// positions that are not parameters, in order of their first node.
func (g *Graph) FixedStreams() (spaces []Space) {
	spaces, _ = g.unitedNodes(true)
	return slices.DeleteFunc(spaces, func(s Space) bool { return !s.IsResidual() })
}

// unitedNodes joins the nodes that share their units into spaces, those whose basis
// is fixed or the others, and says where each node is, -1 for none of them.
//
//nolint:revive // two halves of one partition, found in one walk
func (g *Graph) unitedNodes(fixed bool) (spaces []Space, of []int) {
	u := newUnion(len(g.Nodes))
	for _, n := range g.Nodes {
		switch n.Flow() {
		case Fix:
			u.fixed[u.find(n.ID)] = true
		case Carry:
			u.join(n, n.Carrier())
		case Join:
			for _, a := range n.Args {
				u.join(n, a)
			}
		}
		switch n.Op {
		case Prepend:
			u.join(n, n.Args[1])
		case Attend, Mul:
			u.join(n.Args[0], n.Args[1]) // scores contract queries with keys, products pair units
		}
		if n.Tie != nil {
			u.join(n, n.Tie)
		}
	}
	index := map[int]int{}
	of = make([]int, len(g.Nodes))
	for i, n := range g.Nodes {
		root := u.find(i)
		if of[i] = -1; u.fixed[root] != fixed {
			continue
		}
		k, ok := index[root]
		if !ok {
			k = len(spaces)
			index[root] = k
			spaces = append(spaces, Space{Units: n.Units})
		}
		of[i] = k
		spaces[k].Units = max(spaces[k].Units, n.Units)
		spaces[k].Nodes = append(spaces[k].Nodes, n)
	}
	return spaces, of
}

// union is a union-find over nodes.
type union struct {
	up    []int
	fixed []bool
}

func newUnion(n int) *union {
	u := &union{make([]int, n), make([]bool, n)}
	for i := range u.up {
		u.up[i] = i
	}
	return u
}

func (u *union) find(i int) int {
	for u.up[i] != i {
		u.up[i] = u.up[u.up[i]]
		i = u.up[i]
	}
	return i
}

func (u *union) join(a, b *Node) {
	i, j := u.find(a.ID), u.find(b.ID)
	u.up[i] = j
	u.fixed[j] = u.fixed[i] || u.fixed[j]
}
