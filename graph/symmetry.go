package graph

import (
	"fmt"
	"slices"
)

// A Space is a set of nodes that share one set of units: relabelling the units
// of one node means relabelling those of all.
//
// Spaces with the same Attend share its heads. Queries with keys are one space
// and values another, but their heads may only be permuted together, in the same
// order.
type Space struct {
	Units  int
	Group  Group   // what may be done to its units
	Heads  int     // heads that the units are divided into; 0 outside attention
	Attend *Node   // the attention that divides them, nil outside attention
	Nodes  []*Node // in order
}

// A Group is a group of changes of basis of a [Space] that leave what the
// network computes as it is.
type Group uint8

// The groups.
const (
	Trivial     Group = iota // nothing: the basis is fixed
	Permutation              // any permutation
	Headwise                 // any permutation of heads, then any invertible map within each, see [Space.Dual]
	Orthogonal               // any orthogonal map that keeps (1, …, 1), once the norms are folded into their readers
	free                     // any invertible map; no space of Spaces has it
)

// String returns the lower-case name of the group.
func (g Group) String() string {
	if g > free {
		return fmt.Sprintf("Group(%d)", uint8(g))
	}
	return [...]string{"trivial", "permutation", "headwise", "orthogonal", "free"}[g]
}

// intersection returns what both groups have in common, as far as the library knows.
func intersection(a, b Group) Group {
	switch {
	case a == b || b == free:
		return a
	case a == free:
		return b
	case min(a, b) == Permutation && max(a, b) == Orthogonal:
		return Permutation
	}
	return Trivial // heads that an activation or a norm acts on have no group of ours
}

func anything(*Graph, Space, *Node) Group { return free }

func permutations(*Graph, Space, *Node) Group { return Permutation }

// headwise is what attention grants to queries, keys and values and to its own
// output.
func headwise(*Graph, Space, *Node) Group { return Headwise }

// grantedByNorm returns what a layer norm grants. LN(x O) = LN(x) O for every
// orthogonal O with O 1 = 1. With a gain γ that holds only once γ is folded into
// the linear layers that read the norm, and the mean of the units taken out of all
// that writes to the space, which must therefore be read through norms alone. Where
// that cannot be done, permutations remain.
func (g *Graph) grantedByNorm(s Space, n *Node) Group {
	if _, ok := g.Readers(n); !ok || !g.readThroughNorms(s) {
		return Permutation
	}
	return Orthogonal
}

// Dual reports whether an axis of n transforms contravariantly: where the other
// axes of the space take an invertible map M, it takes M⁻ᵀ, which is the same
// for an orthogonal map. Keys do, which are contracted with queries, and so do
// layers that read the output of attention.
func (s Space) Dual(n *Node, a Axis) bool {
	return s.Group == Headwise && (a == In || n == s.Attend.Args[1])
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
				spaces[k].Heads, spaces[k].Attend = n.Heads, n
			}
		}
	}
	for k := range spaces {
		spaces[k].Group = g.granted(spaces[k], func(n *Node) bool { return of[n.ID] == k })
	}
	return spaces, of
}

// granted returns the group that all nodes which touch the units of a space
// grant: the nodes within it and the readers outside of it.
func (g *Graph) granted(s Space, within func(*Node) bool) Group {
	group, table := free, operations()
	for _, n := range g.Nodes {
		if !within(n) && !slices.ContainsFunc(n.Args, within) {
			continue
		}
		grants := table[n.Op].grants
		if grants == nil {
			return Trivial
		}
		group = intersection(group, grants(g, s, n))
	}
	if group == free {
		return Permutation // more would be exact and gains nothing: only linear layers see the units
	}
	return group
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
		case Attend:
			u.join(n.Args[0], n.Args[1]) // scores contract queries with keys
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
		spaces[k].Nodes = append(spaces[k].Nodes, n)
	}
	return spaces, of
}

// Readers returns the linear layers that read n, through carries, and whether
// nothing else does: then the gain of a norm n can be folded into them, and its
// bias where each has a bias of its own.
func (g *Graph) Readers(n *Node) (readers []*Node, foldable bool) {
	carried := map[*Node]bool{n: true}
	foldable = true
	for _, u := range g.Nodes[n.ID+1:] {
		for i, a := range u.Args {
			switch {
			case !carried[a]:
			case u.Op == Select || u.Op == Mean:
				carried[u] = true
			case u.Op == Linear && i == 0:
				readers = append(readers, u)
			default:
				foldable = false
			}
		}
	}
	return readers, foldable && len(readers) > 0
}

// readThroughNorms reports whether the layers outside a space see it through
// norms alone, which remove the mean of the units.
func (g *Graph) readThroughNorms(s Space) bool {
	raw := map[*Node]bool{}
	for _, n := range s.Nodes {
		raw[n] = n.Op != Norm && !((n.Op == Select || n.Op == Mean) && !raw[n.Args[0]])
	}
	for _, n := range g.Nodes {
		switch n.Op {
		case Unembed, Linear:
			if raw[n.Args[0]] {
				return false
			}
		case Output:
			if slices.ContainsFunc(n.Args, func(a *Node) bool { return raw[a] }) {
				return false
			}
		}
	}
	return true
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
