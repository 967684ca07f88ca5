package ot

// tree is a spanning tree of the bipartite graph with the flow on its arcs. The arc
// between a node and its parent runs from the row to the column, whichever of them is
// the parent. The children of a node form a doubly linked list.
type tree struct {
	n          int       // nodes below n are rows
	nodes      []node    // [n + m]
	potentials []float64 // [n + m]; those of the two ends of a tree arc sum to its cost
	stack      []int32
}

// node keeps all about a node together in memory, because a pivot visits many nodes.
type node struct {
	flow   int64   // on the arc to the parent
	cost   float64 // of the arc to the parent
	parent int32   // none at the root
	depth  int32
	child  int32 // first child
	next   int32 // next sibling
	prev   int32
}

// newTree returns n + m nodes that are not connected.
func newTree(n, m int) tree {
	t := tree{n: n, nodes: make([]node, n+m), potentials: make([]float64, n+m)}
	for x := range t.nodes {
		t.nodes[x] = node{parent: none, child: none, next: none, prev: none}
	}
	return t
}

// attach makes x the first child of p, with a flow and a cost of the arc between them.
func (t *tree) attach(x, p int32, flow int64, cost float64) {
	e, up := &t.nodes[x], &t.nodes[p]
	e.parent, e.flow, e.cost = p, flow, cost
	e.next, e.prev = up.child, none
	if up.child != none {
		t.nodes[up.child].prev = x
	}
	up.child = x
}

// detach removes x from the list of its siblings.
func (t *tree) detach(x int32) {
	e := &t.nodes[x]
	if e.prev != none {
		t.nodes[e.prev].next = e.next
	} else {
		t.nodes[e.parent].child = e.next
	}
	if e.next != none {
		t.nodes[e.next].prev = e.prev
	}
}

// setPotential derives the depth and the potential of x from those of its parent.
// Potentials are always derived and never incremented, so they do not drift.
func (t *tree) setPotential(x int32) {
	if e := &t.nodes[x]; e.parent != none {
		e.depth = t.nodes[e.parent].depth + 1
		t.potentials[x] = e.cost - t.potentials[e.parent]
	}
}

// pivot lets the arc from row node i to column node j enter the tree. The last blocking
// arc of its cycle leaves, counted from the apex in the direction of the new flow, which
// keeps the tree strongly feasible.
func (t *tree) pivot(i, j int32, cost float64) {
	// The new flow runs up from j to the apex and down to i. It runs against the arcs
	// above columns on j's side and above rows on i's side, and these can block. Among
	// arcs that block alike, the last is the one nearest to the apex on j's side, or
	// else the one nearest to i.
	theta, leave, side := int64(totalFlow)+1, int32(none), j
	x, y := i, j
	for x != y {
		e, f := &t.nodes[x], &t.nodes[y]
		if e.depth > f.depth {
			if int(x) < t.n && e.flow < theta {
				theta, leave, side = e.flow, x, i
			}
			x = e.parent
			continue
		}
		if int(y) >= t.n && f.flow <= theta {
			theta, leave, side = f.flow, y, j
		}
		y = f.parent
	}
	if theta > 0 {
		apex := x
		for x := i; x != apex; x = t.nodes[x].parent {
			t.nodes[x].flow += t.flowChange(x, theta)
		}
		for y := j; y != apex; y = t.nodes[y].parent {
			t.nodes[y].flow -= t.flowChange(y, theta)
		}
	}
	q, other := j, i
	if side == i {
		q, other = i, j
	}
	t.reroot(q, other, leave, theta, cost)
}

// flowChange returns the change of the flow on the arc above x when theta more comes
// down to x.
func (t *tree) flowChange(x int32, theta int64) int64 {
	if int(x) < t.n {
		return -theta
	}
	return theta
}

// reroot makes q the root of the part below the leaving arc, hangs it under p, and
// updates the depths and potentials of the part.
func (t *tree) reroot(q, p, leave int32, flow int64, cost float64) {
	for x := q; ; {
		old := t.nodes[x]
		t.detach(x)
		t.attach(x, p, flow, cost)
		if x == leave {
			break
		}
		p, flow, cost, x = x, old.flow, old.cost, old.parent
	}
	t.setPotential(q)
	t.stack = append(t.stack[:0], q)
	for len(t.stack) > 0 {
		x := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		depth, pot := t.nodes[x].depth+1, t.potentials[x]
		for c := t.nodes[x].child; c != none; {
			e := &t.nodes[c]
			e.depth = depth
			t.potentials[c] = e.cost - pot
			if e.child != none {
				t.stack = append(t.stack, c)
			}
			c = e.next
		}
	}
}

// topDown lists the nodes with the root first and every parent before its children.
func (t *tree) topDown() []int32 {
	out := make([]int32, 0, len(t.nodes))
	for x := range t.nodes {
		if t.nodes[x].parent == none {
			out = append(out, int32(x))
		}
	}
	for k := 0; k < len(out); k++ {
		for c := t.nodes[out[k]].child; c != none; c = t.nodes[c].next {
			out = append(out, c)
		}
	}
	return out
}
