package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
)

// totalFlow is the total that masses are rounded to, so that flows are whole
// numbers: no drift, and degenerate pivots are seen for what they are.
const totalFlow = 1 << 60

// simplex is the network simplex on the complete bipartite graph from rows to
// columns. Nodes 0 … n-1 are rows, n … n+m-1 columns.
//
// Its basis stays strongly feasible, every tree arc without flow points to the
// root, which rules out cycling (Cunningham, 1976). Entering arcs come from
// the candidates of a cyclic search by blocks of rows.
type simplex struct {
	ctx       context.Context
	n, m      int
	cost      []float64 // [n × m]
	tree      tree
	maxCost   float64 // largest cost
	tol       float64 // rounding of a reduced cost, relative to that and the potentials
	nextRow   int     // row at which the search goes on
	costsSeen int     // costs looked at since the context was

	candidates []pricedArc // arcs that may enter
}

// transport solves an instance with any masses.
func transport(ctx context.Context, in *instance, start []float64) (vertex, error) {
	s := &simplex{ctx: ctx, n: in.n, m: in.m, cost: in.cost, maxCost: in.maxCost, tol: 0x1p-49}
	a, b, unit := integerMasses(in)
	v, mass, err := s.startPotentials(in, start)
	if err != nil {
		return vertex{}, err
	}
	if err := s.startTree(a, b, v); err != nil {
		return vertex{}, err
	}
	if err := s.pivotAll(); err != nil {
		return vertex{}, err
	}
	if unit == 0 {
		s.recoverMasses(in, mass)
	}
	x := vertex{mass: mass, u: s.tree.potentials[:in.n], v: s.tree.potentials[in.n:]}
	for k, e := range s.tree.nodes {
		if e.parent == none {
			continue
		}
		i, j := s.treeArc(k, int(e.parent))
		if unit > 0 {
			mass[i*in.m+j] = unit * float64(e.flow)
		}
		x.cost += mass[i*in.m+j] * e.cost
	}
	x.rounding = s.tol * (s.maxCost + 2*floats.Norm(s.tree.potentials, math.Inf(1)))
	return x, nil
}

const (
	warmStartReg        = 0.01    // ε of the first prices over the largest cost
	warmStartIterations = 30      // iterations for them
	warmStartEntries    = 1 << 12 // costs up to which the simplex needs none
	searchRows          = 24      // rows searched for candidates at least
)

// startPotentials returns column potentials to start from, where there are none those
// of a rough entropic plan, and the zero plan.
func (s *simplex) startPotentials(in *instance, start []float64) (v, mass []float64, err error) {
	if start != nil {
		_, err := tightened(s.ctx, in.cost, start)
		return start, make([]float64, in.n*in.m), err
	}
	if in.n*in.m <= warmStartEntries || in.maxCost == 0 {
		return s.columnMinima(), make([]float64, in.n*in.m), nil
	}
	k := newKernel(s.ctx, in, floats.Sum(in.a), floats.Sum(in.b))
	c := control{reg: warmStartReg * in.maxCost, tol: stageTol, limit: warmStartIterations}
	if err := c.anneal(k); err != nil {
		return nil, nil, err
	}
	k.absorb()
	clear(k.entries)
	return k.g, k.entries, nil
}

// treeArc returns the row and column of the tree arc between x and its parent p.
func (s *simplex) treeArc(x, p int) (i, j int) {
	if x < s.n {
		return x, p - s.n
	}
	return p, x - s.n
}

// integerMasses returns the masses as whole numbers with equal totals. Where they are
// uniform this is exact, and unit is the mass of 1; otherwise unit is 0.
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

// roundMasses writes w as positive whole numbers that sum to units.
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

func greatestCommonDivisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (s *simplex) row(i int) []float64 { return s.cost[i*s.m : (i+1)*s.m] }

// checkContext counts costs looked at and reports the end of the context.
func (s *simplex) checkContext(k int) error {
	if s.costsSeen += k; s.costsSeen < contextInterval {
		return nil
	}
	s.costsSeen = 0
	return s.ctx.Err()
}

// pivotAll runs until no arc enters.
func (s *simplex) pivotAll() error {
	limit := 64 * (s.n + s.m)
	for k := 1; ; k++ {
		i, j, err := s.enteringArc()
		if err != nil || i == none {
			return err
		}
		s.tree.pivot(int32(i), int32(s.n+j), s.cost[i*s.m+j])
		if k == limit {
			// Rounding may let arcs enter for ever. A wider tolerance ends
			// that; the duals still tell how good the plan is.
			s.tol *= 8
			limit *= 2
		}
	}
}

// enteringArc returns the candidate with the most negative reduced cost, or free
// where no arc has one.
func (s *simplex) enteringArc() (bi, bj int, err error) {
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

// negativeReducedCost returns the reduced cost of an arc if it is below zero by more than
// rounding, and otherwise 0.
func (s *simplex) negativeReducedCost(i, j int32) float64 {
	c, u, v := s.cost[int(i)*s.m+int(j)], s.tree.potentials[i], s.tree.potentials[s.n+int(j)]
	if d := c - v - u; -d > s.tol*(s.maxCost+math.Abs(u)+math.Abs(v)) {
		return d
	}
	return 0
}

// findCandidates makes candidates of the best arc of each row in the next blocks of
// rows, until there is one or all rows were seen.
func (s *simplex) findCandidates() error {
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

// recoverMasses writes the flows of the final tree, from its leaves to the root, with
// the masses as they were before rounding.
func (s *simplex) recoverMasses(in *instance, mass []float64) {
	rest := append(append([]float64(nil), in.a...), in.b...)
	order := s.tree.topDown()
	for k := len(order) - 1; k > 0; k-- {
		x := order[k]
		e := &s.tree.nodes[x]
		p := e.parent
		i, j := s.treeArc(int(x), int(p))
		f := max(0, rest[x])
		if e.flow == 0 && f <= 1e-12*min(in.a[i], in.b[j]) {
			f = 0 // what is left is rounding
		}
		rest[p] -= f
		mass[i*s.m+j] = f
	}
}
