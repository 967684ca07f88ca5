package ot

import (
	"context"
	"errors"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// vertex is the answer of an exact method: a vertex of the polytope of plans.
type vertex struct {
	plan     *sparse   // [n × m]
	u, v     []float64 // potentials [n], [m]
	cost     float64   // ⟨P, C⟩
	rounding float64   // how far reduced costs may be off, in units of the cost
}

// gapTol is the relative error that the cost of an exact plan may have.
const gapTol = 1e-9

// trusted reports whether rounding is too small to hide a better plan of the
// given mass.
func (x vertex) trusted(total float64) bool {
	return x.rounding*total <= gapTol*x.cost || x.cost == 0
}

// exactly solves an instance with the method that fits it, from column
// potentials start [m], which may be nil.
func exactly(ctx context.Context, in *instance, start []float64) (vertex, error) {
	if in.cost32 != nil {
		return exactlyFor(ctx, in, in.cost32, start)
	}
	return exactlyFor(ctx, in, in.cost, start)
}

// exactlyFor is exactly for costs of one type.
func exactlyFor[T number](ctx context.Context, in *instance, cost []T, start []float64) (vertex, error) {
	if in.n == in.m && allEqual(in.a) && allEqual(in.b) {
		return assignment(ctx, in, cost, start)
	}
	return transport(ctx, in, cost, start)
}

// assignment solves an instance with n = m in which all masses are the same.
func assignment[T number](ctx context.Context, in *instance, cost []T, start []float64) (vertex, error) {
	s := newAssigner(ctx, in.n, cost)
	if err := s.solve(start, in.columnMinima); err != nil {
		return vertex{}, err
	}
	x := vertex{u: s.potentials(), v: s.v}
	entries, top := make([]entry, in.n), 0.0
	for i, j := range s.colOf {
		c := float64(s.row(i)[j])
		entries[i] = entry{int32(i), int32(j), in.a[i]}
		x.cost += in.a[i] * c
		top = max(top, c)
	}
	x.plan = newSparse(in.n, in.n, entries)
	// Costs that are not used count for nothing here: no potential contains them.
	x.rounding = 0x1p-49 * (top + floats.Norm(s.v, math.Inf(1)))
	return x, nil
}

// certified is exactly for costs of any range. Where rounding may hide a better plan, the
// answer comes with a [*NotConvergedError].
//
// One cost of 1e16 among others near 1 makes potentials of that size, whose rounding
// hides the differences between the other costs. Costs are therefore cut off at a limit
// near the cost of the plan: a plan that is optimal for the lower costs and uses no
// entry that was cut is optimal for the costs themselves, and so are its potentials.
func certified(ctx context.Context, in *instance, start []float64) (vertex, error) {
	if in.maxCost > maxTotal { // sums of potentials would overflow
		return in.certifiedSmaller(ctx, start)
	}
	x, err := exactly(ctx, in, start)
	total := floats.Sum(in.a)
	if err != nil || x.trusted(total) {
		return x, err
	}
	in.widenCosts()
	if x.cost == 0 || in.gap(x) <= gapTol*x.cost {
		return x, nil // optimal all the same: no cost is below zero
	}
	const margin = 1 << 12 // ratio of the limit to the mean cost of the plan
	solves, raising := 1, false
	for limit := margin * (x.cost / total); limit < in.maxCost; solves++ {
		y, err := exactly(ctx, in.cutOff(limit), nil)
		if err != nil {
			return vertex{}, err
		}
		if !in.usesOnlyBelow(&y, limit) {
			raising = true // the optimum may need a larger cost
			limit = margin * max(limit, 0x1p-1022)
			continue
		}
		x = y
		// A limit nearer to the cost of this plan, which may be much cheaper than the
		// plan before, leaves less rounding.
		next := margin * (x.cost / total)
		if raising || x.trusted(total) || !(next < limit) {
			break
		}
		limit = next
	}
	if gap := in.gap(x); gap > gapTol*x.cost {
		return x, &NotConvergedError{Iterations: solves, Residual: gap / x.cost}
	}
	return x, nil
}

// certifiedSmaller solves an instance in a larger unit of the cost, so that its costs
// are smaller numbers.
func (in *instance) certifiedSmaller(ctx context.Context, start []float64) (vertex, error) {
	const unit = 0x1p200
	in.widenCosts()
	smaller := *in
	smaller.cost, smaller.maxCost, smaller.cost32 = slices.Clone(in.cost), in.maxCost/unit, nil
	smaller.columnMinima = nil
	floats.Scale(1/unit, smaller.cost)
	if start != nil {
		start = slices.Clone(start)
		floats.Scale(1/unit, start)
	}
	x, err := certified(ctx, &smaller, start)
	x.cost, x.rounding = x.cost*unit, x.rounding*unit
	floats.Scale(unit, x.u)
	floats.Scale(unit, x.v)
	if x.plan != nil && math.IsInf(max(floats.Norm(x.u, math.Inf(1)), floats.Norm(x.v, math.Inf(1))), 0) {
		return vertex{}, invalid("Cost", ErrNotFinite, "dual potentials of costs up to %g overflow", in.maxCost)
	}
	return x, err
}

// cutOff returns the instance with limit in the place of all costs above it.
func (in *instance) cutOff(limit float64) *instance {
	lower := *in
	lower.cost, lower.cost32, lower.maxCost = slices.Clone(in.cost), nil, min(in.maxCost, limit)
	lower.columnMinima = nil
	for k, c := range lower.cost {
		lower.cost[k] = min(c, limit)
	}
	return &lower
}

// usesOnlyBelow reports whether a plan uses no entry with a cost above limit, and sets
// the cost of the plan to what it is without the limit. Such entries are cleared, and do
// not count as used, where they are no more than the rounding of the masses.
func (in *instance) usesOnlyBelow(x *vertex, limit float64) bool {
	x.cost = 0
	entries := x.plan.entries()
	for k, e := range entries {
		switch c := in.cost[int(e.row)*in.m+int(e.column)]; {
		case c <= limit:
			x.cost += e.value * c
		case e.value <= 1e-12*min(in.a[e.row], in.b[e.column]):
			entries[k].value = 0
		default:
			return false
		}
	}
	x.plan = newSparse(in.n, in.m, entries)
	return true
}

// gap bounds by how much a better plan could be cheaper: Σ Pᵢⱼ (Cᵢⱼ − uᵢ − vⱼ) for the
// largest u that is feasible with v, plus the rounding of those differences.
func (in *instance) gap(x vertex) (gap float64) {
	gap = 0x1p-52 * floats.Norm(x.v, math.Inf(1)) * floats.Sum(in.a)
	for i := range in.a {
		row := in.cost[i*in.m : (i+1)*in.m]
		u, _ := leastReducedCost(row, x.v)
		columns, values := x.plan.row(i)
		for k, j := range columns {
			gap += values[k] * (row[j] - x.v[j] - u)
		}
	}
	return gap
}

// preferIdentity replaces the plan x by the identity where both sides have the same
// masses and the identity costs no more, up to rounding. A model that is aligned with
// itself then stays as it is, whatever ties there are among its units.
func (in *instance) preferIdentity(x *vertex) {
	if !slices.Equal(in.keptRows, in.keptColumns) || !slices.Equal(in.a, in.b) {
		return
	}
	var cost float64
	for i, a := range in.a {
		if in.cost32 != nil {
			cost += a * float64(in.cost32[i*in.m+i])
		} else {
			cost += a * in.cost[i*in.m+i]
		}
	}
	if cost > x.cost*(1+1e-13) {
		return
	}
	entries := make([]entry, in.n)
	for i, a := range in.a {
		entries[i] = entry{int32(i), int32(i), a}
	}
	x.plan = newSparse(in.n, in.m, entries)
}

// raiseCosts returns the problem with its least cost subtracted from all costs, and that
// least cost. Where the mass of plans is given, this changes the cost of all plans alike.
func raiseCosts(p Problem) (Problem, float64, error) {
	data, n, m, err := rowMajor("Cost", p.Cost)
	if err != nil {
		return p, 0, err
	}
	low, high := math.Inf(1), math.Inf(-1)
	for k, c := range data {
		if math.IsNaN(c) || math.IsInf(c, 0) {
			return p, 0, badEntry("Cost", k/m, k%m, c, ErrNotFinite)
		}
		low, high = min(low, c), max(high, c)
	}
	if max(high, -low) > maxTotal { // potentials would overflow
		return p, 0, invalid("Cost", ErrNotFinite, "from %g to %g", low, high)
	}
	out := mat.NewDense(n, m, slices.Clone(data))
	for k := range data {
		out.RawMatrix().Data[k] -= low
	}
	p.Cost = out
	return p, low, nil
}

// reader checks a problem and makes an instance of it.
type reader func(context.Context, Problem) (*instance, error)

// readSigned reads a problem whose costs may be negative. It also returns the problem
// with costs from zero up that it has read, and the constant that was subtracted.
func readSigned(ctx context.Context, p Problem, read reader) (*instance, Problem, float64, error) {
	in, err := read(ctx, p)
	if e, ok := errors.AsType[*InvalidError](err); !ok || e.Field != "Cost" || !errors.Is(e, ErrNegative) {
		return in, p, 0, err
	}
	p, low, err := raiseCosts(p)
	if err != nil {
		return nil, p, 0, err
	}
	in, err = read(ctx, p)
	return in, p, low, err
}
