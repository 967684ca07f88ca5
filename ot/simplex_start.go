package ot

import (
	"cmp"
	"math"
	"slices"
)

// startTree makes the first tree for integer masses a, b, which it uses up. It puts flow
// on arcs of least reduced cost with the column potentials v, cheapest first, and then
// connects the parts of that forest by arcs without flow that point to the root.
func (s *simplex) startTree(a, b []int64, v []float64) error {
	s.tree = newTree(s.n, s.m)
	arcs, err := s.cheapestArcs(v)
	if err != nil {
		return err
	}
	flows := make([]flowArc, 0, s.n+s.m)
	give := func(i, j int) {
		f := min(a[i], b[j])
		flows = append(flows, flowArc{int32(i), int32(s.n + j), f})
		a[i] -= f
		b[j] -= f
	}
	for _, e := range arcs {
		if a[e.i] > 0 && b[e.j] > 0 {
			give(int(e.i), int(e.j))
		}
	}
	var open []int
	for j, w := range b {
		if w > 0 {
			open = append(open, j)
		}
	}
	for i := range s.n {
		for a[i] > 0 {
			if err := s.checkContext(len(open)); err != nil {
				return err
			}
			row, at := s.row(i), 0
			for k, j := range open {
				if row[j]-v[j] < row[open[at]]-v[open[at]] {
					at = k
				}
			}
			j := open[at]
			give(i, j)
			if b[j] == 0 {
				open = append(open[:at], open[at+1:]...)
			}
		}
	}
	s.connect(flows)
	return nil
}

// startArcsPerRow is the number of arcs per row that the first tree is chosen from.
const startArcsPerRow = 6

// pricedArc is an arc from row i to column j with the reduced cost d, in startTree
// relative to that of the row's best arc.
type pricedArc struct {
	d    float64
	i, j int32
}

// cheapestArcs returns the startArcsPerRow arcs of least reduced cost of every row, in
// the order in which they should get flow.
func (s *simplex) cheapestArcs(v []float64) ([]pricedArc, error) {
	k := min(startArcsPerRow, s.m)
	arcs, search := make([]pricedArc, 0, k*s.n), newRowSearch(k, s.m)
	for i := range s.n {
		near := closestColumns(search, s.row(i), v, 0)
		for _, e := range near {
			arcs = append(arcs, pricedArc{e.d - near[0].d, int32(i), e.j})
		}
		if err := s.checkContext(s.m); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(arcs, func(x, y pricedArc) int {
		return cmp.Or(cmp.Compare(x.d, y.d), cmp.Compare(x.i, y.i), cmp.Compare(x.j, y.j))
	})
	return arcs, nil
}

// columnMinima returns the least cost of every column [m].
func (s *simplex) columnMinima() []float64 {
	low := slices.Clone(s.row(0))
	for i := 1; i < s.n; i++ {
		for j, c := range s.row(i) {
			if c < low[j] {
				low[j] = c
			}
		}
	}
	return low
}

type flowArc struct {
	i, j int32 // nodes: row, column
	flow int64
}

// connect makes the spanning tree from a forest of arcs with flow. It walks through
// each part of the forest and hangs it under the column, among those reached before,
// to which its first row has the least reduced cost.
func (s *simplex) connect(arcs []flowArc) {
	near := make([][]flowArc, s.n+s.m)
	for _, e := range arcs {
		near[e.i] = append(near[e.i], e)
		near[e.j] = append(near[e.j], e)
	}
	in := make([]bool, s.n+s.m)
	var stack, cols []int32
	for r := range int32(s.n) {
		if in[r] {
			continue
		}
		in[r] = true
		if r > 0 { // the first row of a part that is not connected yet
			row, to, low := s.row(int(r)), cols[0], math.Inf(1)
			for _, j := range cols {
				if d := row[int(j)-s.n] - s.tree.potentials[j]; d < low {
					to, low = j, d
				}
			}
			s.tree.attach(r, to, 0, row[int(to)-s.n])
		}
		for stack = append(stack[:0], r); len(stack) > 0; {
			x := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			s.tree.setPotential(x)
			if int(x) >= s.n {
				cols = append(cols, x)
			}
			for _, e := range near[x] {
				if y := e.i + e.j - x; !in[y] {
					in[y] = true
					s.tree.attach(y, x, e.flow, s.cost[int(e.i)*s.m+int(e.j)-s.n])
					stack = append(stack, y)
				}
			}
		}
	}
}
