package ot

// augmentTight matches open rows along paths of length zero: every row on such a path
// moves to a column that costs it as much as its own, so no potential changes. Costs with
// many ties have many such paths, and short lists are enough to find most of them. It
// returns the rows that stay open.
func (s *assigner[T]) augmentTight(open []int) (left []int) {
	if s.n == 1 {
		return open
	}
	p := tightPaths[T]{assigner: s, seen: make([]int, s.n), from: make([]int, s.n)}
	for k, i := range open {
		if !p.match(i, k+1) {
			left = append(left, i)
		}
	}
	return left
}

// tightPaths is a breadth-first search through the tight columns of rows.
type tightPaths[T number] struct {
	*assigner[T]
	seen  []int // number of the search that reached each column
	from  []int // row before each column on the path
	queue []int // rows to go on from
}

// match searches a path from an open row to an unmatched column and changes partners
// along it. It reports whether there was one.
func (p *tightPaths[T]) match(start, search int) bool {
	least, _, _, _ := p.leastTwo(start)
	p.queue = append(p.queue[:0], start)
	for k := 0; k < len(p.queue); k++ {
		i := p.queue[k]
		if own := p.colOf[i]; own != none {
			least = float64(p.row(i)[own]) - p.v[own]
		}
		columns, costs := p.shortlist.of(i)
		for k, j := range columns {
			if float64(costs[k])-p.v[j] != least || p.seen[j] == search {
				continue
			}
			p.seen[j], p.from[j] = search, i
			if p.rowOf[j] == none {
				p.change(int(j), start)
				return true
			}
			p.queue = append(p.queue, p.rowOf[j])
		}
	}
	return false
}

// change gives every row on the path from start to column end the column after it.
func (p *tightPaths[T]) change(end, start int) {
	for j := end; ; {
		i := p.from[j]
		p.rowOf[j] = i
		j, p.colOf[i] = p.colOf[i], j
		if i == start {
			return
		}
	}
}
