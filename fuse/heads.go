package fuse

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/ot"
)

// heads assigns heads of keys and values, with the queries that share them, by what
// the best maps of their blocks are worth, summed over the spaces, and carries each
// pair by these maps. Where heads differ in width, queries take a factor for the 1/√d
// of the scores.
func (u update) heads(ctx context.Context, slopes []slope) ([]*mat.Dense, error) {
	s := u.m.spaces[u.which[0]]
	b := headBlocks{s.Heads, u.m.anchor.Graph.Nodes[s.Attend.ID].Heads}
	source, anchor := b.source/s.Shared, b.anchor/s.Shared
	score, matches := mat.NewDense(source, anchor, nil), make([]headMatch, 0, source*anchor)
	for i := range source {
		for j := range anchor {
			match, err := u.matchSharing(ctx, b, slopes, i*s.Shared, j*s.Shared)
			if err != nil {
				return nil, err
			}
			matches = append(matches, match)
			score.Set(i, j, match.worth)
		}
	}
	pairs, err := u.m.assignPairs(ctx, score)
	if err != nil {
		return nil, err
	}
	out := make([]*mat.Dense, len(slopes))
	for x := range slopes {
		n, m := slopes[x].maps.Dims()
		scale := 1.0
		if u.m.of[s.Attend.Args[0].ID] == u.which[x] {
			scale = math.Pow(float64(m*b.source)/float64(n*b.anchor), 0.25)
		}
		out[x] = mat.NewDense(n, m, nil)
		for i := range source {
			for j := range anchor {
				share, match := pairs.At(i, j), matches[i*anchor+j]
				for h, to := range match.order {
					if share > 0 {
						b.headBlock(out[x], i*s.Shared+h, j*s.Shared+to).Scale(scale*share, match.within[x])
					}
				}
			}
		}
	}
	return out, nil
}

// headBlocks divides a matrix of units into blocks of one head each.
type headBlocks struct{ source, anchor int } // heads

// headBlock returns the block of head i of the source and head j of the anchor; it
// shares the values of g.
func (b headBlocks) headBlock(g *mat.Dense, i, j int) *mat.Dense {
	n, m := g.Dims()
	n, m = n/b.source, m/b.anchor
	return g.Slice(i*n, (i+1)*n, j*m, (j+1)*m).(*mat.Dense)
}

// A headMatch says how the queries that share a head of keys and values go onto those
// that share another.
type headMatch struct {
	order  []int        // the query of the anchor that each of the source goes to
	within []*mat.Dense // of each space: the map that all of them take
	worth  float64
}

// matchSharing finds the best match of the heads from i on in the source and from j on
// in the anchor that share keys and values. It finds pairs of queries and the maps
// within heads by turns, so that no turn lowers what the match is worth.
func (u update) matchSharing(ctx context.Context, b headBlocks, slopes []slope, i, j int) (headMatch, error) {
	s := u.m.spaces[u.which[0]]
	score := mat.NewDense(s.Shared, s.Shared, nil) // of pairs of queries
	for x := range slopes {
		for h := range s.Shared {
			for l := range s.Shared {
				_, worth, err := u.within(x, b.headBlock(slopes[x].maps, i+h, j+l))
				if err != nil {
					return headMatch{}, err
				}
				score.Set(h, l, score.At(h, l)+worth)
			}
		}
	}
	best := headMatch{worth: math.Inf(-1)}
	for {
		next := headMatch{}
		var err error
		if next.order, err = assignment(ctx, score); err != nil {
			return best, err
		}
		score.Zero()
		for x := range slopes {
			sum := mat.DenseCopyOf(b.headBlock(slopes[x].maps, i, j+next.order[0]))
			for h := 1; h < s.Shared; h++ {
				sum.Add(sum, b.headBlock(slopes[x].maps, i+h, j+next.order[h]))
			}
			p, worth, err := u.within(x, sum)
			if err != nil {
				return best, err
			}
			next.within, next.worth = append(next.within, p), next.worth+worth
			for h := range s.Shared {
				for l := range s.Shared {
					block := mat.DenseCopyOf(b.headBlock(slopes[x].maps, i+h, j+l))
					score.Set(h, l, score.At(h, l)+innerProduct(block, p))
				}
			}
		}
		if s.Shared > 1 && next.worth > best.worth+minGain*math.Abs(next.worth) {
			best = next
			continue
		}
		if next.worth > best.worth {
			best = next
		}
		return best, nil
	}
}

// assignment returns for each row of a square matrix the column that it is paired with,
// so that the sum over all pairs is greatest.
func assignment(ctx context.Context, score *mat.Dense) ([]int, error) {
	n, _ := score.Dims()
	if n == 1 {
		return []int{0}, nil
	}
	cost, top := mat.NewDense(n, n, nil), mat.Max(score)
	cost.Apply(func(_, _ int, v float64) float64 { return top - v }, score)
	plan, err := ot.EMD{}.Solve(ctx, ot.Problem{Cost: cost})
	if err != nil {
		return nil, err
	}
	columns, ok := plan.Permutation()
	if !ok {
		return nil, fmt.Errorf("an assignment of %d heads is no permutation", n)
	}
	out := make([]int, n)
	for j, i := range columns {
		out[i] = j
	}
	return out, nil
}

// within returns the best map of a pair of heads of space x of the update, and what it
// is worth.
func (u update) within(x int, g *mat.Dense) (*mat.Dense, float64, error) {
	s := u.m.spaces[u.which[x]]
	switch s.Group {
	case graph.HeadPlanes:
		return bestTurns(g, s.Planes)
	case graph.HeadSigns:
		p, worth := bestPlaneSigns(g, s.Planes)
		return p, worth, nil
	}
	return polarFactor(g)
}

// bestTurns returns the map of a head [d × d] that maximises ⟨g, P⟩ among those that
// turn each of its planes, of units i and i + planes, and map the rest orthogonally.
// Turns are the complex numbers of magnitude 1, which rotary positions commute with:
// the polar factor of the complex part of a block of g.
func bestTurns(g *mat.Dense, planes int) (*mat.Dense, float64, error) {
	d, _ := g.Dims()
	p, worth := mat.NewDense(d, d, nil), 0.0
	for i := range planes {
		j := i + planes
		re, im := g.At(i, i)+g.At(j, j), g.At(i, j)-g.At(j, i)
		size := math.Hypot(re, im)
		if worth += size; size == 0 {
			re, size = 1, 1
		}
		setComplex(p, i, j, complex(re/size, im/size))
	}
	if rest := 2 * planes; rest < d {
		o, more, err := polarFactor(g.Slice(rest, d, rest, d))
		if err != nil {
			return nil, 0, err
		}
		p.Slice(rest, d, rest, d).(*mat.Dense).Copy(o)
		worth += more
	}
	return p, worth, nil
}

// setComplex lets the plane of units i and j be multiplied by z.
func setComplex(p *mat.Dense, i, j int, z complex128) {
	p.Set(i, i, real(z))
	p.Set(j, j, real(z))
	p.Set(i, j, imag(z))
	p.Set(j, i, -imag(z))
}

// bestPlaneSigns returns the map of a head that maximises ⟨g, P⟩ among those that
// change signs of whole planes.
func bestPlaneSigns(g *mat.Dense, planes int) (*mat.Dense, float64) {
	d, _ := g.Dims()
	p, worth := identity(d), 0.0
	for i := range d {
		worth += g.At(i, i)
	}
	for i := range planes {
		if sum := g.At(i, i) + g.At(i+planes, i+planes); sum < 0 {
			setComplex(p, i, i+planes, -1)
			worth -= 2 * sum
		}
	}
	return p, worth
}

// invertibleWithinHeads returns the map that a matrix [units × units] holds within the
// heads of a space, as far as its group allows, and the map of dual axes that goes with
// it. Heads that share keys and values take their mean.
func invertibleWithinHeads(s graph.Space, t *mat.Dense) (within, dual *mat.Dense, err error) {
	b, d := headBlocks{s.Heads, s.Heads}, s.Units/s.Heads
	within, dual = mat.NewDense(s.Units, s.Units, nil), mat.NewDense(s.Units, s.Units, nil)
	for from := 0; from < s.Heads; from += s.Shared {
		own := mat.NewDense(d, d, nil)
		for h := from; h < from+s.Shared; h++ {
			own.Add(own, b.headBlock(t, h, h))
		}
		own.Scale(1/float64(s.Shared), own)
		if s.Group == graph.HeadPlanes {
			own = nearestComplex(own, s.Planes)
		}
		var inverse mat.Dense
		if err := inverse.Inverse(own); err != nil {
			return nil, nil, fmt.Errorf("the map of head %d of %s: %w", from, s.Nodes[0].Name, err)
		}
		for h := from; h < from+s.Shared; h++ {
			b.headBlock(within, h, h).Copy(own)
			b.headBlock(dual, h, h).Copy(inverse.T())
		}
	}
	return within, dual, nil
}

// nearestComplex returns the map nearest to g that multiplies each plane of a head by a
// complex number and does not mix planes with the rest.
func nearestComplex(g *mat.Dense, planes int) *mat.Dense {
	d, _ := g.Dims()
	out := mat.NewDense(d, d, nil)
	for i := range planes {
		j := i + planes
		setComplex(out, i, j, complex((g.At(i, i)+g.At(j, j))/2, (g.At(i, j)-g.At(j, i))/2))
	}
	for i := 2 * planes; i < d; i++ {
		for j := 2 * planes; j < d; j++ {
			out.Set(i, j, g.At(i, j))
		}
	}
	return out
}

// ofShared returns the map of keys and values, each head of which stands for c in a row
// of the space, from the map of the space: the blocks of heads that share one are one.
func (b headBlocks) ofShared(s *unitMap, c int) *unitMap {
	n, m := s.dims()
	out := mat.NewDense(n/c, m/c, nil)
	small := func(unit, width int) int { return unit/width/c*width + unit%width }
	for j := range m {
		rows, values := s.column(j)
		for k, i := range rows {
			from, to := small(int(i), n/b.source), small(j, m/b.anchor)
			out.Set(from, to, out.At(from, to)+values[k]/float64(c))
		}
	}
	return newUnitMap(out)
}

// ofSharing is the adjoint of ofShared: it spreads a slope of keys and values [n/c × m/c]
// over the heads that share them.
func (b headBlocks) ofSharing(g *mat.Dense, c int) *mat.Dense {
	n, m := g.Dims()
	out := mat.NewDense(n*c, m*c, nil)
	small := headBlocks{b.source / c, b.anchor / c}
	for i := range b.source {
		for j := range b.anchor {
			b.headBlock(out, i, j).Scale(1/float64(c), small.headBlock(g, i/c, j/c))
		}
	}
	return out
}

// spreadPlan carries the plan of values on through an attention in which queries share
// them: that of a pair of heads once for each of the queries, which go to each other as
// their own plan pairs them best.
func (t *transportRun) spreadPlan(n *graph.Node, values ot.Plan) (ot.Plan, error) {
	a, c := t.anchorNode(n), n.Shared()
	if c != a.Shared() {
		return values, &MismatchError{"number of queries that share keys in " + n.Name, fmt.Sprint(c), fmt.Sprint(a.Shared())}
	}
	wide, small := headBlocks{n.Heads, a.Heads}, headBlocks{n.Heads / c, a.Heads / c}
	mass, own := mat.NewDense(n.Units, a.Units, nil), mat.DenseCopyOf(values.Mass())
	var queries *mat.Dense
	if plan := t.plans[n.Args[0].ID]; !plan.IsIdentity() {
		queries = mat.DenseCopyOf(plan.Mass())
	}
	for i := range small.source {
		for j := range small.anchor {
			score := mat.NewDense(c, c, nil)
			if queries != nil {
				score.Apply(func(h, l int, _ float64) float64 { return mat.Sum(wide.headBlock(queries, i*c+h, j*c+l)) }, score)
			}
			order, err := assignment(t.ctx, score)
			if err != nil {
				return values, err
			}
			for h, l := range order {
				wide.headBlock(mass, i*c+h, j*c+l).Scale(1/float64(c), small.headBlock(own, i, j))
			}
		}
	}
	return ot.NewPlan(mass, nil, nil)
}
