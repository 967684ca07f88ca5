package graph

import "slices"

// A Space is a set of nodes that share one set of units: to relabel the units
// of one is to relabel those of all.
type Space struct {
	Units  int
	Group  Group   // what else may be done to its units
	Heads  int     // heads that the units are divided into; 0 outside attention
	Attend *Node   // the attention that divides them, nil outside attention
	Nodes  []*Node // in order
}

// A Group is a group of changes of basis of a [Space] that leave what the
// network computes as it is.
type Group uint8

// The groups.
const (
	Permute Group = iota // any permutation
	Rotate               // any rotation that keeps (1, …, 1), once the norms are folded into their readers
	Heads                // any permutation of heads, then any rotation or other invertible map within each, see [Space.Dual]
	Keep                 // none: the basis is fixed, see [Graph.Pinned]
)

// String returns the lower-case name of the group.
func (g Group) String() string { return [...]string{"permute", "rotate", "heads", "keep"}[g] }

// Dual reports whether an axis of n in the space meets its units from the other
// side: that of keys, which queries are contracted with, and that of layers that
// read mixed values. Where the others take an invertible map M it takes M⁻ᵀ, the
// same for a rotation.
func (s Space) Dual(n *Node, a Axis) bool {
	return s.Group == Heads && (a == In || n == s.Attend.Args[1])
}

// Stream reports whether the space is a residual stream: one that branches are
// added to.
func (s Space) Stream() bool {
	return slices.ContainsFunc(s.Nodes, func(n *Node) bool { return n.Op == Add })
}

// Spaces returns the spaces of g whose basis is free, in order of their first
// node, and for each node the index of its space, -1 where its basis is fixed.
func (g *Graph) Spaces() (spaces []Space, of []int) {
	spaces, of = g.united(false)
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
		spaces[k].Group = g.group(spaces[k])
	}
	return spaces, of
}

// Pinned returns the residual streams whose basis is fixed, such as by positions
// that are no parameters, in order of their first node.
func (g *Graph) Pinned() (spaces []Space) {
	spaces, _ = g.united(true)
	for k := range spaces {
		spaces[k].Group = Keep
	}
	return slices.DeleteFunc(spaces, func(s Space) bool { return !s.Stream() })
}

// united joins the nodes that share their units into spaces, those whose basis
// is fixed or the others, and says where each node is, -1 for none of them.
func (g *Graph) united(fixed bool) (spaces []Space, of []int) {
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

// group derives the group of a space. Elementwise functions allow permutations
// alone, and so does a norm whose gain cannot be folded into what reads it.
func (g *Graph) group(s Space) Group {
	norms := 0
	for _, n := range s.Nodes {
		switch {
		case n.Op == Act:
			return Permute
		case n.Op == Norm:
			norms++
			if _, ok := g.Readers(n); !ok {
				return Permute
			}
		}
	}
	switch {
	case s.Attend != nil && norms == 0:
		return Heads
	case s.Attend == nil && norms > 0 && g.throughNorms(s):
		return Rotate
	}
	return Permute
}

// Readers returns the linear layers that read n, through carries, and whether
// nothing else does and each has a bias: then gain and bias of a norm n can be
// folded into them.
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
				foldable = foldable && len(u.Params) > 1
			default:
				foldable = false
			}
		}
	}
	return readers, foldable && len(readers) > 0
}

// throughNorms reports whether the layers outside a space see it through a
// norm only, which takes the mean of the units away.
func (g *Graph) throughNorms(s Space) bool {
	raw := map[*Node]bool{}
	for _, n := range s.Nodes {
		raw[n] = n.Op != Norm && !((n.Op == Select || n.Op == Mean) && !raw[n.Args[0]])
	}
	for _, n := range g.Nodes {
		if n.Op == Unembed && raw[n.Args[0]] || n.Op == Linear && raw[n.Args[0]] || n.Op == Output && raw[n.Args[0]] {
			return false
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
