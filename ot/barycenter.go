package ot

import (
	"context"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Barycenter averages masses on a fixed support in the sense of entropic transport.
//
//	min over p of  Σₖ wₖ OTε(p, bₖ)
//	OTε(p, b) = min ⟨P, C⟩ + ε Σ P (log P − 1)   over P 1 = p,  Pᵀ 1 = b
//
// It iterates Bregman projections in the log domain: the plans are projected in turn onto
// the masses bₖ and onto the geometric mean of their other marginals.
//
// Benamou, Carlier, Cuturi, Nenna and Peyré, "Iterative Bregman projections for
// regularized transportation problems" (2015).
type Barycenter struct {
	Reg     float64 // ε > 0 in units of the cost; 0 means DefaultReg of the largest cost
	Tol     float64 // mean L1 difference of p and the plans' marginals; 0 means DefaultTol
	MaxIter int     // never exceeded; 0 means DefaultMaxIter
}

// Solve returns the barycenter p [n], with total 1, of masses [m] each, for a cost
// [n × m] from the support of p to that of the masses.
//
// Weights [len(all)] are taken relative to their sum; nil is uniform. Masses are taken
// relative to their totals. Invalid input gives an [*InvalidError], and p comes with a
// [*NotConvergedError] if MaxIter is not enough: its residual is Σₖ wₖ ‖Pₖ 1 − p‖₁.
func (s Barycenter) Solve(
	ctx context.Context, cost mat.Matrix, all [][]float64, weights []float64,
) ([]float64, error) {
	c, err := control{s.Reg, s.Tol, s.MaxIter}.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, invalid("masses", ErrShape, "none")
	}
	w, total, err := checkMasses("weights", weights, len(all))
	if err != nil {
		return nil, err
	}
	var top float64
	var problems []*instance
	kept := w[:0] // weights above zero
	for i, b := range all {
		share := w[i] / total
		if share == 0 {
			continue
		}
		in, err := readProblem(Problem{Cost: cost, B: b})
		if err != nil {
			return nil, err
		}
		problems, kept, top = append(problems, in), append(kept, share), max(top, in.maxCost)
	}
	c = c.withDefaultReg(top)
	if err := c.checkReg(top); err != nil {
		return nil, err
	}
	if err := contextError(ctx); err != nil {
		return nil, err
	}
	kernels := make([]*kernel, len(problems))
	for i, in := range problems {
		kernels[i] = newKernel(ctx, in, 1, in.totalB)
		kernels[i].reg = c.reg
	}
	return c.barycenter(kernels, kept)
}

// barycenter iterates on one kernel for each of the masses, with weights w that sum to 1.
func (c control) barycenter(ks []*kernel, w []float64) ([]float64, error) {
	n := ks[0].n
	sums := make([][]float64, len(ks)) // log Σⱼ exp((gⱼ − Cᵢⱼ)/ε) of every kernel
	for i := range sums {
		sums[i] = make([]float64, n)
	}
	mean, p := make([]float64, n), make([]float64, n)
	for count := 1; ; count++ {
		setAll(mean, 0)
		for l, k := range ks {
			if err := k.updateLogColumns(); err != nil {
				return nil, err
			}
			err := k.eachLogSum(func(i int, sum, top float64) { sums[l][i] = sum + top/k.reg })
			if err != nil {
				return nil, err
			}
			for i, s := range sums[l] {
				mean[i] += w[l] * s
			}
		}
		var residual float64
		for i := range p {
			p[i] = math.Exp(mean[i])
			for l, k := range ks {
				residual += w[l] * math.Abs(math.Exp(k.f[i]/k.reg+sums[l][i])-p[i])
				k.f[i] = k.reg * (mean[i] - sums[l][i])
			}
		}
		if residual <= c.tol {
			return normaliseTotal(p)
		}
		if count == c.limit {
			p, err := normaliseTotal(p)
			if err == nil {
				err = &NotConvergedError{Iterations: count, Residual: residual}
			}
			return p, err
		}
	}
}

// normaliseTotal divides p by its total, in place.
func normaliseTotal(p []float64) ([]float64, error) {
	var total float64
	for _, v := range p {
		total += v
	}
	if !(total > 0) || math.IsInf(total, 0) {
		return nil, invalid("Reg", ErrEmpty, "the barycenter has mass %g", total)
	}
	for i := range p {
		p[i] /= total
	}
	return p, nil
}
