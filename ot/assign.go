package ot

import (
	"context"
	"math"
)

// free marks a row or column without partner.
const free = -1

// patience is the number of costs looked at between two looks at the context.
const patience = 1 << 21

// assigner solves an n × n assignment problem with shortest augmenting paths
// (Jonker and Volgenant, 1987). All its passes run along rows of the cost.
type assigner struct {
	ctx   context.Context
	n     int
	cost  []float64 // [n × n]
	v     []float64 // column potentials
	rowOf []int     // partner of a column
	colOf []int     // partner of a row
	work  int       // costs looked at since the context was

	// for augment
	dist []float64
	pred []int
	list []int // columns: done, then at the least distance, then open
}

func newAssigner(ctx context.Context, n int, cost []float64) *assigner {
	s := &assigner{
		ctx: ctx, n: n, cost: cost,
		v: make([]float64, n), rowOf: make([]int, n), colOf: make([]int, n),
		dist: make([]float64, n), pred: make([]int, n), list: make([]int, n),
	}
	for i := range n {
		s.rowOf[i], s.colOf[i], s.list[i] = free, free, i
	}
	return s
}

func (s *assigner) row(i int) []float64 { return s.cost[i*s.n : (i+1)*s.n] }

// tick counts the costs of one row and reports the end of the context.
func (s *assigner) tick() error {
	if s.work += s.n; s.work < patience {
		return nil
	}
	s.work = 0
	return s.ctx.Err()
}

func (s *assigner) solve() error {
	s.reduceColumns()
	s.transfer()
	open := make([]int, 0, s.n)
	for i, j := range s.colOf {
		if j == free {
			open = append(open, i)
		}
	}
	var err error
	for range 2 { // the second pass still pays, a third does not
		if open, err = s.reduceRows(open); err != nil {
			return err
		}
	}
	for _, i := range open {
		if err := s.augment(i); err != nil {
			return err
		}
	}
	return nil
}

// reduceColumns starts from vⱼ = minᵢ cᵢⱼ and matches each column with the row
// of its minimum, as far as that row is free.
func (s *assigner) reduceColumns() {
	copy(s.v, s.row(0))
	arg := make([]int, s.n)
	for i := 1; i < s.n; i++ {
		for j, c := range s.row(i) {
			if c < s.v[j] {
				s.v[j], arg[j] = c, i
			}
		}
	}
	for j := s.n - 1; j >= 0; j-- {
		if i := arg[j]; s.colOf[i] == free {
			s.colOf[i], s.rowOf[j] = j, i
		}
	}
}

// transfer lowers the potential of each matched column by the slack of its
// row's second choice, which leaves more room to the rows without partner.
func (s *assigner) transfer() {
	for i, own := range s.colOf {
		if own == free {
			continue
		}
		slack := math.Inf(1)
		for j, c := range s.row(i) {
			if d := c - s.v[j]; d < slack && j != own {
				slack = d
			}
		}
		if s.n > 1 {
			s.v[own] -= slack - (s.row(i)[own] - s.v[own])
		}
	}
}

// best returns the two least reduced costs of row i and their columns.
func (s *assigner) best(i int) (d1, d2 float64, j1, j2 int) {
	d1, d2 = math.Inf(1), math.Inf(1)
	j1, j2 = free, free
	v := s.v[:s.n]
	for j, c := range s.row(i) {
		d := c - v[j]
		if d >= d2 {
			continue
		}
		if d < d1 {
			d2, j2 = d1, j1
			d1, j1 = d, j
		} else {
			d2, j2 = d, j
		}
	}
	return d1, d2, j1, j2
}

// reduceRows lets each open row take its cheapest column, at the price that
// makes its second choice as good, and returns the rows still open.
func (s *assigner) reduceRows(open []int) ([]int, error) {
	var left []int
	if s.n == 1 {
		return open, nil
	}
	// Rows that drive each other out can do so for long; rounds bound it.
	rounds := 16 * s.n
	for k := 0; k < len(open); rounds-- {
		i := open[k]
		k++
		if err := s.tick(); err != nil {
			return nil, err
		}
		d1, d2, j, j2 := s.best(i)
		other := s.rowOf[j]
		price := s.v[j] - (d2 - d1)
		lower := price < s.v[j] // rounding may swallow the difference
		switch {
		case lower:
			s.v[j] = price
		case other != free:
			j = j2
			other = s.rowOf[j]
		}
		s.colOf[i], s.rowOf[j] = j, i
		if other == free {
			continue
		}
		s.colOf[other] = free
		if lower && rounds > 0 {
			k--
			open[k] = other
		} else {
			left = append(left, other)
		}
	}
	return left, nil
}

// augment matches row start along the shortest path to a column without
// partner, in reduced costs, and updates the potentials of the columns passed.
func (s *assigner) augment(start int) error {
	n, list, dist, v := s.n, s.list, s.dist, s.v
	for j, c := range s.row(start) {
		dist[j] = c - v[j]
		s.pred[j] = start
	}
	var done, low, high, end int // list[low:high] is at the least distance
	var least float64
	for end = free; end == free; {
		if low == high {
			done = low
			high, least = s.nearest(low)
			for _, j := range list[low:high] {
				if s.rowOf[j] == free {
					end = j
					break
				}
			}
			if end != free {
				break
			}
		}
		if err := s.tick(); err != nil {
			return err
		}
		j1 := list[low]
		low++
		i := s.rowOf[j1]
		row := s.row(i)
		h := row[j1] - v[j1] - least
		for k := high; k < n; k++ {
			j := list[k]
			d := row[j] - v[j] - h
			if d >= dist[j] {
				continue
			}
			dist[j], s.pred[j] = d, i
			if d <= least {
				if s.rowOf[j] == free {
					end = j
					break
				}
				list[k], list[high] = list[high], j
				high++
			}
		}
	}
	for _, j := range list[:done] {
		v[j] += dist[j] - least
	}
	for j := end; ; {
		i := s.pred[j]
		s.rowOf[j] = i
		j, s.colOf[i] = s.colOf[i], j
		if i == start {
			return nil
		}
	}
}

// nearest moves the columns at the least distance to list[low:high].
func (s *assigner) nearest(low int) (high int, least float64) {
	high, least = low+1, s.dist[s.list[low]]
	for k := high; k < s.n; k++ {
		j := s.list[k]
		d := s.dist[j]
		if d > least {
			continue
		}
		if d < least {
			high, least = low, d
		}
		s.list[k], s.list[high] = s.list[high], j
		high++
	}
	return high, least
}

// potentials returns u with uᵢ + vⱼ = cᵢⱼ on the matched pairs.
func (s *assigner) potentials() []float64 {
	u := make([]float64, s.n)
	for i, j := range s.colOf {
		u[i] = s.row(i)[j] - s.v[j]
	}
	return u
}
