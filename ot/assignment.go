package ot

import (
	"context"
	"math/bits"
)

// none stands for a row, column or node that does not exist: the partner of one that
// is unmatched, the parent of a root.
const none = -1

// contextInterval is the number of costs that solvers read between two checks of the
// context, about a millisecond of work.
const contextInterval = 1 << 21

// number is a type that costs may be stored as. Sums of costs are always float64.
type number interface{ float32 | float64 }

// assigner solves an n × n assignment problem with shortest augmenting paths
// (Jonker and Volgenant, 1987). All its passes run along rows of the cost.
type assigner[T number] struct {
	ctx       context.Context
	n         int
	cost      []T       // [n × n]
	v         []float64 // column potentials
	rowOf     []int     // row matched with each column, or none
	colOf     []int     // column matched with each row, or none
	shortlist shortlist[T]
	search    *rowSearch
	costsSeen int // since the last check of the context
}

// newAssigner returns an assigner in which no row or column is matched.
func newAssigner[T number](ctx context.Context, n int, cost []T) *assigner[T] {
	s := &assigner[T]{
		ctx: ctx, n: n, cost: cost, shortlist: newShortlist[T](n), search: newRowSearch(min(n, shortlistSize), n),
		v: make([]float64, n), rowOf: make([]int, n), colOf: make([]int, n),
	}
	for i := range n {
		s.rowOf[i], s.colOf[i] = none, none
	}
	return s
}

func (s *assigner[T]) row(i int) []T { return s.cost[i*s.n : (i+1)*s.n] }

// checkContext counts k more costs as read, and returns the error of the context when
// it is time to ask for it.
func (s *assigner[T]) checkContext(k int) error {
	if s.costsSeen += k; s.costsSeen < contextInterval {
		return nil
	}
	s.costsSeen = 0
	return s.ctx.Err()
}

// solve finds an optimal matching. It starts from column potentials where they are
// given, and from the least cost of every column otherwise, low, where that is known.
func (s *assigner[T]) solve(start, low []float64) (err error) {
	switch {
	case start != nil:
		copy(s.v, start)
		_, err = tightenPotentials(s.ctx, s.cost, s.v)
	case low != nil:
		copy(s.v, low)
	default:
		s.v, _, err = readCosts(s.ctx, s.cost, s.n)
	}
	if err != nil {
		return err
	}
	if err := s.fillShortlists(); err != nil {
		return err
	}
	s.matchClosest()
	open, err := s.transferSlack()
	if err != nil {
		return err
	}
	// A round of row reduction is cheaper than shortest paths, and four leave only a
	// few rows unmatched.
	for range 4 {
		if open, err = s.reduceRows(open); err != nil {
			return err
		}
	}
	return s.augmentAll(s.augmentTight(open))
}

// fillShortlists finds the short lists of all rows.
func (s *assigner[T]) fillShortlists() error {
	k := min(s.n, 1+s.n*s.n/contextInterval)
	return runBlocks(s.ctx, k, s.n*s.n, func(b int) {
		search := newRowSearch(s.shortlist.size, s.n)
		lo, hi := blockRange(s.n, k, b)
		for i := lo; i < hi; i++ {
			s.shortlist.replace(i, s.row(i), closestColumns(search, s.row(i), s.v, i))
		}
	})
}

// matchClosest matches each row with one of its closest columns where one is unmatched.
func (s *assigner[T]) matchClosest() {
	for i := range s.n {
		columns, costs := s.shortlist.of(i)
		least := float64(costs[0]) - s.v[columns[0]]
		for k, j := range columns {
			if s.rowOf[j] == none && float64(costs[k])-s.v[j] == least {
				s.colOf[i], s.rowOf[j] = int(j), i
				break
			}
		}
	}
}

// transferSlack lowers the potential of each matched column until its row is
// indifferent between it and the row's second choice. That makes the other columns
// more attractive to unmatched rows, which it returns.
func (s *assigner[T]) transferSlack() (open []int, err error) {
	for i, own := range s.colOf {
		switch {
		case own == none:
			open = append(open, i)
		case s.n > 1:
			d1, d2, j, _ := s.leastTwo(i)
			if j == own {
				s.v[own] -= d2 - d1
			}
		}
		if err := s.checkContext(s.shortlist.size); err != nil {
			return nil, err
		}
	}
	return open, nil
}

// reduceRows lets each open row take its cheapest column, and lowers the potential of
// that column until the row's second choice is as good. It returns the rows that are
// open afterwards.
func (s *assigner[T]) reduceRows(open []int) ([]int, error) {
	var left []int
	if s.n == 1 {
		return open, nil
	}
	// Two rows can drive each other out of a column many times, in small steps of its
	// potential. Bounding the rounds leaves such rows to the shortest paths.
	rounds := 4 * s.n
	for k := 0; k < len(open); rounds-- {
		i := open[k]
		k++
		if err := s.checkContext(s.shortlist.size); err != nil {
			return nil, err
		}
		d1, d2, j, j2 := s.leastTwo(i)
		other := s.rowOf[j]
		price := s.v[j] - (d2 - d1)
		lower := price < s.v[j] // rounding may swallow the difference
		switch {
		case lower:
			s.v[j] = price
		case other != none:
			j = j2
			other = s.rowOf[j]
		}
		s.colOf[i], s.rowOf[j] = j, i
		if other == none {
			continue
		}
		s.colOf[other] = none
		if lower && rounds > 0 {
			k--
			open[k] = other
		} else {
			left = append(left, other)
		}
	}
	return left, nil
}

// leastTwo returns the two least reduced costs of row i and their columns, of those that
// are alike one that is not matched first. It reads only the short list of the row as long
// as no other column can be among the two.
func (s *assigner[T]) leastTwo(i int) (d1, d2 float64, j1, j2 int) {
	columns, costs := s.shortlist.of(i)
	d1, d2, first, second := leastTwo(costs, columns, s.v)
	if d2 > s.shortlist.bound[i] {
		s.costsSeen += s.n
		row := s.row(i)
		s.shortlist.replace(i, row, closestColumns(s.search, row, s.v, i))
		d1, d2, first, second = leastTwo(costs, columns, s.v)
	}
	k := bits.TrailingZeros64(first)
	if second == 0 { // several have the least
		for set := first; set != 0; set &= set - 1 {
			if at := bits.TrailingZeros64(set); s.rowOf[columns[at]] == none {
				k = at
				break
			}
		}
		second = first &^ (1 << k)
	}
	return d1, d2, int(columns[k]), int(columns[bits.TrailingZeros64(second)])
}

// potentials returns the row potentials, for which uᵢ + vⱼ = cᵢⱼ on the matched pairs.
func (s *assigner[T]) potentials() []float64 {
	u := make([]float64, s.n)
	for i, j := range s.colOf {
		u[i] = float64(s.row(i)[j]) - s.v[j]
	}
	return u
}
