package ot

import (
	"context"
	"math"
)

// units is the total that masses are rounded to, so that flows are whole
// numbers: no drift, and degenerate pivots are seen for what they are.
const units = 1 << 60

// simplex is the network simplex on the complete bipartite graph from rows to
// columns. Nodes 0 … n-1 are rows, n … n+m-1 columns.
//
// Its basis stays strongly feasible, every tree arc without flow points to the
// root, which rules out cycling (Cunningham, 1976). Entering arcs come from a
// cyclic search by blocks of rows.
type simplex struct {
	ctx  context.Context
	n, m int
	cost []float64 // [n × m]
	tree tree
	next int     // row at which the search goes on
	tol  float64 // relative rounding of a reduced cost
	work int
}

// transport solves an instance with any masses.
func transport(ctx context.Context, in *instance) (mass, u, v []float64, err error) {
	s := &simplex{ctx: ctx, n: in.n, m: in.m, cost: in.cost, tol: 0x1p-49}
	a, b, unit := whole(in)
	if err := s.start(a, b); err != nil {
		return nil, nil, nil, err
	}
	if err := s.pivots(); err != nil {
		return nil, nil, nil, err
	}
	mass = make([]float64, in.n*in.m)
	if unit > 0 {
		for x, p := range s.tree.parent {
			if p != free {
				i, j := s.arc(x, p)
				mass[i*in.m+j] = unit * float64(s.tree.flow[x])
			}
		}
	} else {
		s.peel(in, mass)
	}
	pot := s.tree.pot
	return mass, pot[:in.n], pot[in.n:], nil
}

// arc returns the row and column of the tree arc between x and its parent p.
func (s *simplex) arc(x, p int) (i, j int) {
	if x < s.n {
		return x, p - s.n
	}
	return p, x - s.n
}

// whole returns the masses as whole numbers with equal totals. Where they are
// uniform this is exact, and unit is the mass of 1; otherwise unit is 0.
func whole(in *instance) (a, b []int64, unit float64) {
	a, b = make([]int64, in.n), make([]int64, in.m)
	if equal(in.a) && equal(in.b) {
		g := gcd(in.n, in.m)
		for i := range a {
			a[i] = int64(in.m / g)
		}
		for j := range b {
			b[j] = int64(in.n / g)
		}
		return a, b, in.a[0] / float64(in.m/g)
	}
	rounded(a, in.a)
	rounded(b, in.b)
	return a, b, 0
}

// rounded writes w as positive whole numbers that sum to units.
func rounded(out []int64, w []float64) {
	var sum float64
	for _, v := range w {
		sum += v
	}
	var top int
	left := int64(units)
	for i, v := range w {
		out[i] = max(1, int64(math.Round(v/sum*units)))
		left -= out[i]
		if w[i] > w[top] {
			top = i
		}
	}
	out[top] += left
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// start makes the first tree: rows take in turn the columns that are cheapest
// for them above the column's minimum, and what falls apart is tied together
// by arcs without flow that point to the root.
func (s *simplex) start(a, b []int64) error {
	s.tree = newTree(s.n, s.m)
	low := append([]float64(nil), s.cost[:s.m]...)
	for i := 1; i < s.n; i++ {
		for j, c := range s.row(i) {
			low[j] = min(low[j], c)
		}
	}
	open := make([]int, s.m)
	for j := range open {
		open[j] = j
	}
	var arcs []flowArc
	for i := range s.n {
		for a[i] > 0 {
			if err := s.tick(s.m); err != nil {
				return err
			}
			row, at := s.row(i), 0
			for k, j := range open {
				if row[j]-low[j] < row[open[at]]-low[open[at]] {
					at = k
				}
			}
			j := open[at]
			f := min(a[i], b[j])
			arcs = append(arcs, flowArc{i, s.n + j, f})
			a[i] -= f
			if b[j] -= f; b[j] == 0 {
				open = append(open[:at], open[at+1:]...)
			}
		}
	}
	s.connect(arcs)
	return nil
}

func (s *simplex) row(i int) []float64 { return s.cost[i*s.m : (i+1)*s.m] }

// tick counts costs looked at and reports the end of the context.
func (s *simplex) tick(k int) error {
	if s.work += k; s.work < patience {
		return nil
	}
	s.work = 0
	return s.ctx.Err()
}

type flowArc struct {
	i, j int // nodes: row, column
	flow int64
}

// connect grows the tree from the forest of arcs.
func (s *simplex) connect(arcs []flowArc) {
	near := make([][]flowArc, s.n+s.m)
	for _, e := range arcs {
		near[e.i] = append(near[e.i], e)
		near[e.j] = append(near[e.j], e)
	}
	in := make([]bool, s.n+s.m)
	var stack, cols []int
	for r := range s.n {
		if in[r] {
			continue
		}
		in[r] = true
		if r > 0 { // a row of a part that hangs loose
			row, to := s.row(r), cols[0]
			for _, j := range cols {
				if s.slack(row, j) < s.slack(row, to) {
					to = j
				}
			}
			s.tree.link(r, to, 0, row[to-s.n])
		}
		for stack = append(stack[:0], r); len(stack) > 0; {
			x := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			s.tree.settle(x)
			if x >= s.n {
				cols = append(cols, x)
			}
			for _, e := range near[x] {
				if y := e.i + e.j - x; !in[y] {
					in[y] = true
					s.tree.link(y, x, e.flow, s.cost[e.i*s.m+e.j-s.n])
					stack = append(stack, y)
				}
			}
		}
	}
}

// slack is the cost of a row to column node j less the column's potential.
func (s *simplex) slack(row []float64, j int) float64 { return row[j-s.n] - s.tree.pot[j] }

// pivots runs until no arc enters.
func (s *simplex) pivots() error {
	limit := 64 * (s.n + s.m)
	for k := 1; ; k++ {
		i, j, err := s.entering()
		if err != nil || i == free {
			return err
		}
		s.tree.pivot(i, s.n+j, s.cost[i*s.m+j])
		if k == limit {
			// Rounding may let arcs enter for ever. A wider tolerance ends
			// that; the duals still tell how good the plan is.
			s.tol *= 8
			limit *= 2
		}
	}
}

// entering returns the arc with the most negative reduced cost in the next
// block of rows that has one, or free.
func (s *simplex) entering() (bi, bj int, err error) {
	u, v := s.tree.pot[:s.n], s.tree.pot[s.n:]
	size := max(1, int(math.Sqrt(float64(s.n)*float64(s.m)))/s.m)
	bi = free
	var best float64
	for k := 1; k <= s.n; k++ {
		i := s.next
		if s.next++; s.next == s.n {
			s.next = 0
		}
		ui := u[i]
		for j, c := range s.row(i) {
			d := c - ui - v[j]
			if d < best && -d > s.tol*(c+math.Abs(ui)+math.Abs(v[j])) {
				best, bi, bj = d, i, j
			}
		}
		if err := s.tick(s.m); err != nil {
			return free, free, err
		}
		if bi != free && k%size == 0 {
			break
		}
	}
	return bi, bj, nil
}

// peel writes the flows of the final tree, from its leaves to the root, with
// the masses as they were before rounding.
func (s *simplex) peel(in *instance, mass []float64) {
	rest := append(append([]float64(nil), in.a...), in.b...)
	order := s.tree.order()
	for k := len(order) - 1; k > 0; k-- {
		x := order[k]
		p := s.tree.parent[x]
		i, j := s.arc(x, p)
		f := max(0, rest[x])
		if s.tree.flow[x] == 0 && f <= 1e-12*min(in.a[i], in.b[j]) {
			f = 0 // what is left is rounding
		}
		rest[p] -= f
		mass[i*s.m+j] = f
	}
}
