package ot

import (
	"cmp"
	"math"
	"slices"
)

// startTree makes the first tree for integer masses a, b, which it uses up. It puts flow
// on arcs of least reduced cost with the column potentials v, cheapest first, and then
// connects the parts of that forest by arcs without flow that point to the root.
func (s *simplex[T]) startTree(a, b []int64, v []float64) error {
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
				if float64(row[j])-v[j] < float64(row[open[at]])-v[open[at]] {
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
func (s *simplex[T]) cheapestArcs(v []float64) ([]pricedArc, error) {
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

type flowArc struct {
	i, j int32 // nodes: row, column
	flow int64
}

// connect makes the spanning tree from a forest of arcs with flow. It walks through
// each part of the forest and hangs it under the column, among those reached before,
// to which its first row has the least reduced cost.
func (s *simplex[T]) connect(arcs []flowArc) {
	first, near := arcsOfNodes(arcs, s.n+s.m)
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
				if d := float64(row[int(j)-s.n]) - s.tree.potentials[j]; d < low {
					to, low = j, d
				}
			}
			s.tree.attach(r, to, 0, float64(row[int(to)-s.n]))
		}
		for stack = append(stack[:0], r); len(stack) > 0; {
			x := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			s.tree.setPotential(x)
			if int(x) >= s.n {
				cols = append(cols, x)
			}
			for _, k := range near[first[x]:first[x+1]] {
				e := arcs[k]
				if y := e.i + e.j - x; !in[y] {
					in[y] = true
					s.tree.attach(y, x, e.flow, float64(s.cost[int(e.i)*s.m+int(e.j)-s.n]))
					stack = append(stack, y)
				}
			}
		}
	}
}

// arcsOfNodes returns the indices of the arcs at every one of n nodes: those of node x are
// near[first[x]:first[x+1]].
func arcsOfNodes(arcs []flowArc, n int) (first, near []int32) {
	first, near = make([]int32, n+2), make([]int32, 2*len(arcs))
	for _, e := range arcs {
		first[e.i+2]++
		first[e.j+2]++
	}
	for x := range n {
		first[x+2] += first[x+1]
	}
	for k, e := range arcs {
		for _, x := range [2]int32{e.i, e.j} {
			near[first[x+1]] = int32(k)
			first[x+1]++
		}
	}
	return first, near
}
