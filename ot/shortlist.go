package ot

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// shortlist keeps the columns of least reduced cost for every row. Potentials of
// columns only ever fall, so reduced costs only rise: columns that are not in a list
// stay above the bound that it had when it was made.
//
// Costs are kept beside the columns, because those of a row lie far apart in the cost
// matrix.
type shortlist[T number] struct {
	size    int
	columns []int32   // [n × size]
	costs   []T       // of those columns [n × size]
	bound   []float64 // largest reduced cost in each list [n]; −∞ where there is no list yet
}

// neighbour is a column and its reduced cost.
type neighbour struct {
	d float64
	j int32
}

// shortlistSize is the length of every list of columns.
const shortlistSize = 8

// newShortlist returns lists for n rows, all of which are empty.
func newShortlist[T number](n int) shortlist[T] {
	k := min(n, shortlistSize)
	l := shortlist[T]{size: k, columns: make([]int32, n*k), costs: make([]T, n*k), bound: make([]float64, n)}
	setAll(l.bound, math.Inf(-1))
	return l
}

// of returns the columns in the list of row i and their costs.
func (l *shortlist[T]) of(i int) ([]int32, []T) {
	lo, hi := i*l.size, (i+1)*l.size
	return l.columns[lo:hi], l.costs[lo:hi]
}

// replace makes near, sorted by reduced cost, the list of row i.
func (l *shortlist[T]) replace(i int, row []T, near []neighbour) {
	columns, costs := l.of(i)
	for k, e := range near {
		columns[k], costs[k] = e.j, row[e.j]
	}
	l.bound[i] = near[len(near)-1].d
}

// outdated reports whether a column in the list of row i has risen above its bound. While
// none has, a new list has the same bound.
func (l *shortlist[T]) outdated(i int, v []float64) bool {
	columns, costs := l.of(i)
	for k, j := range columns {
		if float64(costs[k])-v[j] > l.bound[i] {
			return true
		}
	}
	return false
}

// rowSearch finds the columns of least reduced cost in a row. It is for one goroutine.
type rowSearch struct {
	near []neighbour
	last float64 // largest reduced cost in near once near is full
	bits []byte  // of the columns that may be among them
}

// newRowSearch returns a search for up to k of m columns.
func newRowSearch(k, m int) *rowSearch {
	return &rowSearch{near: make([]neighbour, 0, k), bits: make([]byte, 8*((m+63)/64))}
}

// closestColumns returns the columns of least reduced cost in a row, in rising order, as
// many as the search is for. Of columns that are alike it takes those from the given one
// on first, so that rows with many ties do not all want the same columns. The result
// holds until the next call.
func closestColumns[T number](s *rowSearch, row []T, v []float64, from int) []neighbour {
	s.near, s.last = s.near[:0], math.Inf(1)
	parts := [2][2]int{{from, len(row)}, {0, from}}
	if hasVectorUnits && cap(s.near) <= 8 && len(row) >= 64 {
		markClosest(s.bits, row, v)
		for _, part := range parts {
			searchMarked(s, row, v, part)
		}
		return s.near
	}
	for _, part := range parts {
		for j := part[0]; j < part[1]; j++ {
			if d := float64(row[j]) - v[j]; d < s.last {
				s.insert(neighbour{d, int32(j)})
			}
		}
	}
	return s.near
}

// searchMarked looks at the columns of one part whose bits are set.
func searchMarked[T number](s *rowSearch, row []T, v []float64, part [2]int) {
	lo, hi := part[0], part[1]
	for at := lo &^ 63; at < hi; at += 64 {
		set := s.marked(at, hi)
		if at < lo {
			set &= math.MaxUint64 << (lo - at)
		}
		for ; set != 0; set &= set - 1 {
			j := at + bits.TrailingZeros64(set)
			if d := float64(row[j]) - v[j]; d < s.last {
				s.insert(neighbour{d, int32(j)})
			}
		}
	}
}

// marked returns the bits of the 64 columns from at on, a multiple of 64, that lie before hi.
func (s *rowSearch) marked(at, hi int) uint64 {
	set := binary.LittleEndian.Uint64(s.bits[at/8:])
	if hi-at < 64 {
		set &= 1<<(hi-at) - 1
	}
	return set
}

// insert puts e into the list, which is sorted, and drops the last entry where it is full.
func (s *rowSearch) insert(e neighbour) {
	near := s.near
	if len(near) < cap(near) {
		near = near[:len(near)+1]
	}
	k := len(near) - 1
	for ; k > 0 && near[k-1].d > e.d; k-- {
		near[k] = near[k-1]
	}
	near[k] = e
	if s.near = near; len(near) == cap(near) {
		s.last = near[len(near)-1].d
	}
}
