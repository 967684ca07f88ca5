package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
)

// totalFlow is the total of the integer masses that the simplex works with. Integer
// flows do not drift, and degenerate pivots are recognised exactly.
const totalFlow = 1 << 60

// simplex is the network simplex on the complete bipartite graph from rows to
// columns. Nodes 0 … n-1 are rows, n … n+m-1 columns.
//
// Its basis stays strongly feasible, that is, every tree arc without flow points to the
// root, which rules out cycling (Cunningham, 1976). Entering arcs come from a list of
// candidates, which a cyclic search refills from the next rows.
type simplex[T number] struct {
	ctx       context.Context
	n, m      int
	cost      []T // [n × m]
	tree      tree
	maxCost   float64 // largest cost
	tol       float64 // rounding of a reduced cost relative to costs and potentials
	nextRow   int     // row at which the next search begins
	costsSeen int     // since the last check of the context

	candidates []pricedArc // arcs that may enter
}

// transport solves an instance with any masses by the network simplex.
func transport[T number](ctx context.Context, in *instance, cost []T, start []float64) (vertex, error) {
	s := &simplex[T]{ctx: ctx, n: in.n, m: in.m, cost: cost, maxCost: in.maxCost, tol: 0x1p-49}
	a, b, unit := integerMasses(in)
	v, err := s.startPotentials(in, start)
	if err != nil {
		return vertex{}, err
	}
	if err := s.startTree(a, b, v); err != nil {
		return vertex{}, err
	}
	if err := s.pivotAll(); err != nil {
		return vertex{}, err
	}
	x := vertex{u: s.tree.potentials[:in.n], v: s.tree.potentials[in.n:]}
	moves, masses := make([]entry, 0, in.n+in.m), s.recoverMasses(in, unit)
	for k, e := range s.tree.nodes {
		if e.parent == none {
			continue // the root
		}
		i, j := s.treeArc(k, int(e.parent))
		moves = append(moves, entry{int32(i), int32(j), masses[k]})
		x.cost += masses[k] * e.cost
	}
	x.plan = newSparse(in.n, in.m, moves)
	// An arc may have stayed out of the tree although its reduced cost was below zero by
	// this much.
	x.rounding = s.tol * (s.maxCost + 2*floats.Norm(s.tree.potentials, math.Inf(1)))
	return x, nil
}

const (
	warmStartReg        = 0.02    // ε of the entropic plan that the simplex starts from, over the largest cost
	warmStartIterations = 10      // iterations of that plan
	warmStartEntries    = 1 << 12 // size n m up to which the simplex starts without it
	searchRows          = 24      // least number of rows in a search for candidates
)

// startPotentials returns the column potentials to start from: those given, or those of
// a rough entropic plan.
func (s *simplex[T]) startPotentials(in *instance, start []float64) ([]float64, error) {
	if start != nil {
		_, err := tightenPotentials(s.ctx, s.cost, start)
		return start, err
	}
	if in.n*in.m <= warmStartEntries || in.maxCost == 0 {
		low, _, err := readCosts(s.ctx, s.cost, s.m)
		return low, err
	}
	k := newStreamed(s.ctx, in, denseRows[T]{s.cost, s.m})
	k.top = in.maxCost
	c := control{reg: warmStartReg * in.maxCost, tol: stageTol, limit: warmStartIterations}
	return k.g, c.anneal(k)
}

// treeArc returns the row and column of the tree arc between x and its parent p.
func (s *simplex[T]) treeArc(x, p int) (i, j int) {
	if x < s.n {
		return x, p - s.n
	}
	return p, x - s.n
}

// integerMasses returns the masses as integers with equal totals. For uniform masses
// the integers are exact and small, and unit is the mass of 1. For other masses they
// are rounded, and unit is 0.
func integerMasses(in *instance) (a, b []int64, unit float64) {
	a, b = make([]int64, in.n), make([]int64, in.m)
	if allEqual(in.a) && allEqual(in.b) {
		g := greatestCommonDivisor(in.n, in.m)
		for i := range a {
			a[i] = int64(in.m / g)
		}
		for j := range b {
			b[j] = int64(in.n / g)
		}
		return a, b, in.a[0] / float64(in.m/g)
	}
	roundMasses(a, in.a)
	roundMasses(b, in.b)
	return a, b, 0
}

// roundMasses writes w to out as positive integers that sum to totalFlow.
func roundMasses(out []int64, w []float64) {
	var sum float64
	for _, v := range w {
		sum += v
	}
	var top int
	left := int64(totalFlow)
	for i, v := range w {
		out[i] = max(1, int64(math.Round(v/sum*totalFlow)))
		left -= out[i]
		if w[i] > w[top] {
			top = i
		}
	}
	out[top] += left
}

// greatestCommonDivisor returns the largest integer that divides a and b (Euclid).
func greatestCommonDivisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (s *simplex[T]) row(i int) []T { return s.cost[i*s.m : (i+1)*s.m] }

// checkContext counts k more costs as read, and returns the error of the context when
// it is time to ask for it.
func (s *simplex[T]) checkContext(k int) error {
	if s.costsSeen += k; s.costsSeen < contextInterval {
		return nil
	}
	s.costsSeen = 0
	return s.ctx.Err()
}

// pivotAll pivots until no arc has a negative reduced cost.
func (s *simplex[T]) pivotAll() error {
	limit := 64 * (s.n + s.m)
	for k := 1; ; k++ {
		i, j, err := s.enteringArc()
		if err != nil || i == none {
			return err
		}
		s.tree.pivot(int32(i), int32(s.n+j), float64(s.cost[i*s.m+j]))
		if k == limit {
			// Rounding may let the same arcs enter and leave for ever. A wider
			// tolerance ends that, and counts in the rounding of the answer.
			s.tol *= 8
			limit *= 2
		}
	}
}

// enteringArc returns the row and column of the candidate with the most negative
// reduced cost, or none where no arc has a negative one.
func (s *simplex[T]) enteringArc() (bi, bj int, err error) {
	for {
		best, kept := 0.0, s.candidates[:0]
		bi = none
		for _, e := range s.candidates {
			if e.d = s.negativeReducedCost(e.i, e.j); e.d == 0 {
				continue
			}
			kept = append(kept, e)
			if e.d < best {
				best, bi, bj = e.d, int(e.i), int(e.j)
			}
		}
		s.candidates = kept
		if bi != none {
			return bi, bj, nil
		}
		if err := s.findCandidates(); err != nil || len(s.candidates) == 0 {
			return none, none, err
		}
	}
}

// negativeReducedCost returns the reduced cost of an arc if it is below zero by more
// than its rounding, and 0 otherwise.
func (s *simplex[T]) negativeReducedCost(i, j int32) float64 {
	c, u, v := float64(s.cost[int(i)*s.m+int(j)]), s.tree.potentials[i], s.tree.potentials[s.n+int(j)]
	if d := c - v - u; -d > s.tol*(s.maxCost+math.Abs(u)+math.Abs(v)) {
		return d
	}
	return 0
}

// findCandidates adds the best arc of each of the next rows to the candidates if it has
// a negative reduced cost. It reads searchRows rows at a time until there is a candidate
// or all rows were read.
func (s *simplex[T]) findCandidates() error {
	v := s.tree.potentials[s.n:]
	for k := 1; k <= s.n; k++ {
		i := s.nextRow
		if s.nextRow++; s.nextRow == s.n {
			s.nextRow = 0
		}
		_, j := leastReducedCost(s.row(i), v)
		if d := s.negativeReducedCost(int32(i), int32(j)); d < 0 {
			s.candidates = append(s.candidates, pricedArc{d, int32(i), int32(j)})
		}
		if err := s.checkContext(s.m); err != nil {
			return err
		}
		if len(s.candidates) > 0 && k%searchRows == 0 {
			break
		}
	}
	return nil
}

// recoverMasses returns the mass on the arc from every node to its parent [n + m], and 0
// for the root. Where the masses were rounded to integers, unit is 0, and the flows are
// those of the masses before that, from the leaves to the root.
func (s *simplex[T]) recoverMasses(in *instance, unit float64) []float64 {
	masses := make([]float64, in.n+in.m)
	if unit > 0 {
		for k, e := range s.tree.nodes {
			masses[k] = unit * float64(e.flow)
		}
		return masses
	}
	rest := append(append([]float64(nil), in.a...), in.b...)
	order := s.tree.topDown()
	for k := len(order) - 1; k > 0; k-- {
		x := order[k]
		e := &s.tree.nodes[x]
		i, j := s.treeArc(int(x), int(e.parent))
		f := max(0, rest[x])
		if e.flow == 0 && f <= 1e-12*min(in.a[i], in.b[j]) {
			f = 0 // the integer flow is zero, so this is rounding of the sums
		}
		rest[e.parent] -= f
		masses[x] = f
	}
	return masses
}
