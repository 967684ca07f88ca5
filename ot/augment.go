package ot

import (
	"math"
	"math/bits"
)

// shortestPaths finds shortest paths in reduced costs from an unmatched row to an
// unmatched column (Dijkstra's algorithm). A row is read as a whole only when the search
// comes to where a column outside of its short list may be the next; mostly an unmatched
// column is found before.
type shortestPaths[T number] struct {
	*assigner[T]
	dist    []float64 // of every column from the start, +∞ where it was not reached [n]
	before  []int     // row before every column on its shortest path [n]
	done    []bool    // whether the distance of a column is final [n]
	offset  []float64 // of every row: distances through it are reduced costs minus this [n]
	nearest float64   // least distance of an unmatched column so far

	reached []int // columns with a distance
	queue   pathQueue
}

// augmentAll matches all open rows along shortest paths.
func (s *assigner[T]) augmentAll(open []int) error {
	if len(open) == 0 {
		return nil
	}
	n := s.n
	p := &shortestPaths[T]{
		assigner: s, dist: constantVector(n, math.Inf(1)), before: make([]int, n),
		done: make([]bool, n), offset: make([]float64, n),
	}
	for _, i := range open {
		if err := p.augment(i); err != nil {
			return err
		}
	}
	return nil
}

// augment finds the shortest path from row start to an unmatched column, changes partners
// along it, and lowers the potentials of the columns that the search has passed.
func (p *shortestPaths[T]) augment(start int) error {
	p.nearest = math.Inf(1)
	p.enter(start, 0)
	end := none
	for end == none {
		if err := p.checkContext(p.shortlist.size); err != nil {
			return err
		}
		e := p.queue.pop()
		switch {
		case e.row:
			p.readRow(int(e.at))
		case p.done[e.at] || e.key > p.dist[e.at]:
			// It was reached on a shorter path since.
		case p.rowOf[e.at] == none:
			end = int(e.at)
		default:
			j := int(e.at)
			p.done[j] = true
			i := p.rowOf[j]
			p.enter(i, float64(p.row(i)[j])-p.v[j]-p.dist[j])
		}
	}
	least := p.dist[end]
	for _, j := range p.reached {
		if p.done[j] {
			p.v[j] += p.dist[j] - least
		}
	}
	for j := end; ; {
		i := p.before[j]
		p.rowOf[j] = i
		j, p.colOf[i] = p.colOf[i], j
		if i == start {
			break
		}
	}
	p.reset()
	return nil
}

// reset forgets the search.
func (p *shortestPaths[T]) reset() {
	for _, j := range p.reached {
		p.dist[j], p.done[j] = math.Inf(1), false
	}
	p.reached, p.queue = p.reached[:0], p.queue[:0]
}

// enter goes on from row i to the columns of its short list. All other columns are at
// least as far away as the bound of the list.
func (p *shortestPaths[T]) enter(i int, offset float64) {
	p.offset[i] = offset
	columns, costs := p.shortlist.of(i)
	for k, j := range columns {
		p.reach(int(j), i, float64(costs[k])-p.v[j]-offset)
	}
	p.queue.push(pathEvent{p.shortlist.bound[i] - offset, int32(i), true})
}

// readRow goes on from row i to all columns, unless those of a new short list are enough.
func (p *shortestPaths[T]) readRow(i int) {
	row, offset := p.row(i), p.offset[i]
	if known := p.shortlist.bound[i]; p.shortlist.size < p.n && p.shortlist.outdated(i, p.v) {
		p.costsSeen += p.n
		near := closestColumns(p.search, row, p.v, i)
		p.shortlist.replace(i, row, near)
		if bound := p.shortlist.bound[i]; bound > known {
			for _, e := range near {
				p.reach(int(e.j), i, e.d-offset)
			}
			p.queue.push(pathEvent{bound - offset, int32(i), true})
			return
		}
	}
	p.costsSeen += p.n
	v := p.v[:len(row)]
	limit := p.nearest + offset
	if hasVectorUnits && len(row) >= 64 && limit <= math.MaxFloat64 {
		p.readMarked(i, limit)
		return
	}
	for j, c := range row {
		if d := float64(c) - v[j]; d < limit {
			p.reach(j, i, d-offset)
			limit = p.nearest + offset
		}
	}
}

// readMarked goes on from row i to all columns of a reduced cost below the limit, which
// vector units find.
func (p *shortestPaths[T]) readMarked(i int, limit float64) {
	row, offset := p.row(i), p.offset[i]
	markUpTo(p.search.bits, row, p.v, limit)
	for at := 0; at < p.n; at += 64 {
		for set := p.search.marked(at, p.n); set != 0; set &= set - 1 {
			j := at + bits.TrailingZeros64(set)
			if d := float64(row[j]) - p.v[j]; d < limit {
				p.reach(j, i, d-offset)
				limit = p.nearest + offset
			}
		}
	}
}

// reach notes a path to column j through row i, if it is shorter than those known to this
// column and to any unmatched one.
func (p *shortestPaths[T]) reach(j, i int, d float64) {
	if d >= p.dist[j] || d >= p.nearest || p.done[j] {
		return
	}
	if math.IsInf(p.dist[j], 1) {
		p.reached = append(p.reached, j)
	}
	p.dist[j], p.before[j] = d, i
	if p.rowOf[j] == none {
		p.nearest = d
	}
	p.queue.push(pathEvent{d, int32(j), false})
}

// pathEvent is a column at the end of a path of length key, or a row that must be read as
// a whole before paths longer than key.
type pathEvent struct {
	key float64
	at  int32
	row bool
}

// before orders events by length, then by kind and index, so that results do not depend
// on the order in which they were found.
func (e pathEvent) before(o pathEvent) bool {
	switch {
	case e.key != o.key:
		return e.key < o.key
	case e.row != o.row:
		return o.row
	}
	return e.at < o.at
}

// pathQueue is a binary heap of events.
type pathQueue []pathEvent

func (q *pathQueue) push(e pathEvent) {
	h := append(*q, e)
	k := len(h) - 1
	for k > 0 {
		up := (k - 1) / 2
		if !e.before(h[up]) {
			break
		}
		h[k], k = h[up], up
	}
	h[k] = e
	*q = h
}

// pop removes and returns the first event.
func (q *pathQueue) pop() pathEvent {
	h := *q
	first, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	for k := 0; len(h) > 0; {
		down := 2*k + 1
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if down >= len(h) || !h[down].before(last) {
			h[k] = last
			break
		}
		h[k], k = h[down], down
	}
	*q = h
	return first
}
