package graph

// A Space is a set of nodes that share one set of units: to relabel the units
// of one is to relabel those of all.
type Space struct {
	Units  int
	Heads  int     // heads that the units are divided into; 0 outside attention
	Attend *Node   // the attention that divides them, nil outside attention
	Nodes  []*Node // in order
}

// Spaces returns the spaces of g whose basis is free, in order of their first
// node, and for each node the index of its space, -1 where its basis is fixed.
func (g *Graph) Spaces() (spaces []Space, of []int) {
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
		if of[i] = -1; u.fixed[root] {
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
