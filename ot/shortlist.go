package ot

import "math"

// shortlist keeps the columns of least reduced cost for every row. Potentials of
// columns only ever fall, so reduced costs only rise: columns that are not in a list
// stay above the bound that it had when it was made.
type shortlist struct {
	size    int
	columns []int32   // [n × size]
	bound   []float64 // largest reduced cost in each list [n]; −∞ where there is no list yet
	nearest []neighbour
}

// neighbour is a column and its reduced cost.
type neighbour struct {
	d float64
	j int32
}

// newShortlist returns lists for n rows, all of which are empty.
func newShortlist(n int) shortlist {
	k := min(n, 8)
	l := shortlist{size: k, columns: make([]int32, n*k), bound: make([]float64, n), nearest: make([]neighbour, 0, k)}
	setAll(l.bound, math.Inf(-1))
	return l
}

// columnsOf returns the list of row i, which is empty before the first replace.
func (l *shortlist) columnsOf(i int) []int32 {
	if math.IsInf(l.bound[i], -1) {
		return nil
	}
	return l.columns[i*l.size : (i+1)*l.size]
}

// replace makes near, sorted by reduced cost, the list of row i.
func (l *shortlist) replace(i int, near []neighbour) {
	for k, e := range near {
		l.columns[i*l.size+k] = e.j
	}
	l.bound[i] = near[len(near)-1].d
}

// closestColumns fills near, up to its capacity, with the columns of least reduced
// cost in a row, in rising order. Of columns that are alike it takes those from the given
// one on first, so that rows with many ties do not all want the same columns.
func closestColumns[T number](near []neighbour, row []T, v []float64, from int) []neighbour {
	near = near[:0]
	last := math.Inf(1) // largest reduced cost in near once near is full
	for _, part := range [2][2]int{{from, len(row)}, {0, from}} {
		lo := part[0]
		v := v[lo:part[1]]
		for j, c := range row[lo:part[1]] {
			if d := float64(c) - v[j]; d < last {
				near = insertNeighbour(near, neighbour{d, int32(lo + j)})
				if len(near) == cap(near) {
					last = near[len(near)-1].d
				}
			}
		}
	}
	return near
}

// insertNeighbour puts e into near, which is sorted, and drops the last entry where
// near is full.
func insertNeighbour(near []neighbour, e neighbour) []neighbour {
	if len(near) < cap(near) {
		near = near[:len(near)+1]
	}
	k := len(near) - 1
	for ; k > 0 && near[k-1].d > e.d; k-- {
		near[k] = near[k-1]
	}
	near[k] = e
	return near
}
