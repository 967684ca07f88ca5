package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// EMD solves the transport problem exactly.
//
//	min ⟨P, C⟩   over P ≥ 0,  P 1 = a,  Pᵀ 1 = b
//
// Where both sides have the same number of units of the same mass it is an
// assignment and is solved by shortest augmenting paths, O(n³) at worst; any
// other problem by the network simplex on the complete bipartite graph. Units
// without mass are left out. The plan has at most n + m − 1 entries above zero,
// and it is the identity where that is optimal.
//
// Costs may be negative. Where they span so many orders of magnitude that
// rounding may hide a plan cheaper by more than 1e-9 of the optimum, the plan
// comes with a [*NotConvergedError]; its residual bounds that part.
//
// Jonker and Volgenant, "A shortest augmenting path algorithm for dense and
// sparse linear assignment problems" (1987); Cunningham, "A network simplex
// method" (1976).
type EMD struct {
	// Start warm-starts the solver with the dual potentials V [m] of a similar
	// problem; nil starts from the costs alone. It changes the time that a
	// solution takes, and which plan it is where several are optimal.
	Start *Duals
}

// Solve implements [Solver].
func (e EMD) Solve(ctx context.Context, p Problem) (Plan, error) {
	plan, _, err := e.SolveDual(ctx, p)
	return plan, err
}

// SolveDual also returns dual potentials that prove the plan optimal, see
// [Certify].
func (e EMD) SolveDual(ctx context.Context, p Problem) (Plan, Duals, error) {
	in, p, low, err := readSigned(ctx, p, readBalancedAsIs)
	if err != nil {
		return Plan{}, Duals{}, err
	}
	start, err := in.startPotentials(e.Start)
	if err != nil {
		return Plan{}, Duals{}, err
	}
	x, err := certified(ctx, in, start)
	if x.plan == nil {
		return Plan{}, Duals{}, err
	}
	in.preferIdentity(&x)
	d := in.fullDuals(p, x.u, x.v)
	if low != 0 {
		floats.AddConst(low, d.U)
	}
	return in.sparsePlanOf(x.plan.entries()), d, err
}

// startPotentials returns the column potentials of the kept units, or nil where d is
// nil.
func (in *instance) startPotentials(d *Duals) ([]float64, error) {
	if d == nil {
		return nil, nil
	}
	if len(d.V) != len(in.fullB) {
		return nil, invalid("Start", ErrShape, "%d potentials for %d units", len(d.V), len(in.fullB))
	}
	v := make([]float64, in.m)
	for j := range v {
		v[j] = d.V[in.originalColumn(j)]
		if math.IsNaN(v[j]) || math.IsInf(v[j], 0) {
			return nil, badEntry("Start", in.originalColumn(j), -1, v[j], ErrNotFinite)
		}
	}
	return v, nil
}

// tightenPotentials raises column potentials v to the largest that are feasible with u,
// in place, where uᵢ = minⱼ cᵢⱼ − vⱼ is shifted so that u₀ = 0. That keeps them
// within the range of the costs.
func tightenPotentials[T number](ctx context.Context, cost []T, v []float64) (u []float64, err error) {
	m := len(v)
	u, low := make([]float64, len(cost)/m), constantVector(m, math.Inf(1))
	var first float64
	for i := range u {
		row, least := cost[i*m:(i+1)*m], math.Inf(1)
		for j, c := range row {
			if d := float64(c) - v[j]; d < least {
				least = d
			}
		}
		if i == 0 {
			first = least
		}
		u[i] = least - first
		for j, c := range row {
			if d := float64(c) - u[i]; d < low[j] {
				low[j] = d
			}
		}
		if i%64 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	copy(v, low)
	return u, nil
}

// allEqual reports whether all entries are the same up to rounding.
func allEqual(w []float64) bool {
	for _, v := range w {
		if math.Abs(v-w[0]) > 1e-15*w[0] {
			return false
		}
	}
	return true
}

// Duals are the potentials of the dual problem, in units of the cost.
//
//	max Σᵢ aᵢ uᵢ + Σⱼ bⱼ vⱼ   over uᵢ + vⱼ ≤ Cᵢⱼ
type Duals struct {
	U, V []float64 // [n], [m]
}

// fullDuals extends the potentials of the kept units to all units: those without mass
// get the largest potentials that the constraints allow.
func (in *instance) fullDuals(p Problem, u, v []float64) Duals {
	if in.keptRows == nil && in.keptColumns == nil {
		return Duals{U: u, V: v}
	}
	d := Duals{U: constantVector(len(in.fullA), math.Inf(1)), V: constantVector(len(in.fullB), math.Inf(1))}
	for i, w := range u {
		d.U[in.originalRow(i)] = w
	}
	for j, w := range v {
		d.V[in.originalColumn(j)] = w
	}
	for i := range d.U {
		if in.fullA[i] == 0 {
			for j, w := range v {
				d.U[i] = min(d.U[i], p.Cost.At(i, in.originalColumn(j))-w)
			}
		}
	}
	for j := range d.V {
		if in.fullB[j] == 0 {
			for i, w := range d.U {
				d.V[j] = min(d.V[j], p.Cost.At(i, j)-w)
			}
		}
	}
	return d
}

// Certificate bounds how far a plan is from the optimum, in units of the cost times the
// mass.
//
// If Infeasible and Violation are zero, the plan costs at most Gap more than an optimal
// one. Gap is then non-negative, by weak duality.
type Certificate struct {
	Primal     float64 // ⟨P, C⟩
	Dual       float64 // Σᵢ aᵢ uᵢ + Σⱼ bⱼ vⱼ
	Gap        float64 // Primal − Dual
	Infeasible float64 // max(0, maxᵢⱼ uᵢ + vⱼ − Cᵢⱼ), units of the cost
	Violation  float64 // Σᵢ |Σⱼ Pᵢⱼ − aᵢ| + Σⱼ |Σᵢ Pᵢⱼ − bⱼ|
}

// largestMagnitude returns the largest |x|, 0 where there is none.
func largestMagnitude(x []float64) (top float64) {
	for _, v := range x {
		top = max(top, math.Abs(v))
	}
	return top
}

// Certify checks a plan [n × m] for p against potentials [n], [m], without trusting the
// solver that they come from. Costs may be negative. Invalid problems and shapes that do
// not fit give an [*InvalidError].
func Certify(p Problem, plan Plan, d Duals) (Certificate, error) {
	if _, _, _, err := readSigned(context.Background(), p, readBalancedAsIs); err != nil {
		return Certificate{}, err
	}
	c, n, m, _ := rowMajor("Cost", p.Cost)
	a, _, _ := checkMasses("A", p.A, n)
	b, _, _ := checkMasses("B", p.B, m)
	if pn, pm := plan.Dims(); pn != n || pm != m || len(d.U) != n || len(d.V) != m {
		return Certificate{}, invalid("Plan", ErrShape, "cost %d × %d, plan %d × %d, duals %d and %d",
			n, m, pn, pm, len(d.U), len(d.V))
	}
	cert := Certificate{Primal: plan.Cost(mat.NewDense(n, m, c))}
	// Beside potentials of 1e300 masses have a sum that is finite, of parts that are not.
	_, exponent := math.Frexp(max(largestMagnitude(d.U), largestMagnitude(d.V)))
	cols := make([]float64, m)
	for i, u := range d.U {
		var sum float64
		for j, w := range plan.Row(i) {
			sum += w
			cols[j] += w
		}
		for j, v := range d.V {
			cert.Infeasible = max(cert.Infeasible, u+v-c[i*m+j])
		}
		cert.Violation += math.Abs(sum - a[i])
		cert.Dual += a[i] * math.Ldexp(u, -exponent)
	}
	for j, v := range d.V {
		cert.Violation += math.Abs(cols[j] - b[j])
		cert.Dual += b[j] * math.Ldexp(v, -exponent)
	}
	cert.Dual = math.Ldexp(cert.Dual, exponent)
	cert.Gap = cert.Primal - cert.Dual
	return cert, nil
}
