package ot

// tree is a spanning tree of the bipartite graph with the flow on its arcs.
// The arc between a node and its parent always runs from the row to the
// column. Children form doubly linked lists.
type tree struct {
	n      int       // nodes below n are rows
	parent []int     // free at the root
	flow   []int64   // on the arc to the parent
	cost   []float64 // of the arc to the parent
	pot    []float64 // potentials: the two ends of a tree arc sum to its cost
	depth  []int
	child  []int // first child
	next   []int
	prev   []int
	stack  []int
}

func newTree(n, m int) tree {
	k := n + m
	t := tree{
		n: n, parent: make([]int, k), flow: make([]int64, k), cost: make([]float64, k), pot: make([]float64, k),
		depth: make([]int, k), child: make([]int, k), next: make([]int, k), prev: make([]int, k),
	}
	for x := range k {
		t.parent[x], t.child[x], t.next[x], t.prev[x] = free, free, free, free
	}
	return t
}

// link makes x a child of p.
func (t *tree) link(x, p int, flow int64, cost float64) {
	t.parent[x], t.flow[x], t.cost[x] = p, flow, cost
	first := t.child[p]
	t.next[x], t.prev[x], t.child[p] = first, free, x
	if first != free {
		t.prev[first] = x
	}
}

// cut takes x out of the list of its siblings.
func (t *tree) cut(x int) {
	if t.prev[x] != free {
		t.next[t.prev[x]] = t.next[x]
	} else {
		t.child[t.parent[x]] = t.next[x]
	}
	if t.next[x] != free {
		t.prev[t.next[x]] = t.prev[x]
	}
}

// settle derives depth and potential of x from its parent's. Potentials are
// never added to, so they do not drift.
func (t *tree) settle(x int) {
	if p := t.parent[x]; p != free {
		t.depth[x] = t.depth[p] + 1
		t.pot[x] = t.cost[x] - t.pot[p]
	}
}

// pivot brings in the arc from row node i to column node j and takes out the
// last blocking arc of its cycle, seen from the apex along the new flow.
func (t *tree) pivot(i, j int, cost float64) {
	// New flow runs up from j and down to i, against the arcs above columns
	// on j's side and above rows on i's side. Of equals the one nearest to
	// the apex on j's side is last, then the one nearest to i.
	theta, leave, side := int64(units)+1, free, j
	x, y := i, j
	for x != y {
		if t.depth[x] > t.depth[y] {
			if x < t.n && t.flow[x] < theta {
				theta, leave, side = t.flow[x], x, i
			}
			x = t.parent[x]
			continue
		}
		if y >= t.n && t.flow[y] <= theta {
			theta, leave, side = t.flow[y], y, j
		}
		y = t.parent[y]
	}
	apex := x
	for x := i; x != apex; x = t.parent[x] {
		t.flow[x] += t.towards(x, theta)
	}
	for y := j; y != apex; y = t.parent[y] {
		t.flow[y] -= t.towards(y, theta)
	}
	q, other := j, i
	if side == i {
		q, other = i, j
	}
	t.rehang(q, other, leave, theta, cost)
}

// towards is the change of the flow above x when theta comes down to x.
func (t *tree) towards(x int, theta int64) int64 {
	if x < t.n {
		return -theta
	}
	return theta
}

// rehang turns the part below leave around q and hangs it under p.
func (t *tree) rehang(q, p, leave int, flow int64, cost float64) {
	for x := q; ; {
		oldParent, oldFlow, oldCost := t.parent[x], t.flow[x], t.cost[x]
		t.cut(x)
		t.link(x, p, flow, cost)
		if x == leave {
			break
		}
		p, flow, cost, x = x, oldFlow, oldCost, oldParent
	}
	t.stack = append(t.stack[:0], q)
	for len(t.stack) > 0 {
		x := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.settle(x)
		for c := t.child[x]; c != free; c = t.next[c] {
			t.stack = append(t.stack, c)
		}
	}
}

// order lists the nodes so that parents come before children; the root first.
func (t *tree) order() []int {
	out := make([]int, 0, len(t.parent))
	for x, p := range t.parent {
		if p == free {
			out = append(out, x)
		}
	}
	for k := 0; k < len(out); k++ {
		for c := t.child[out[k]]; c != free; c = t.next[c] {
			out = append(out, c)
		}
	}
	return out
}
