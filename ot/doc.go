// Package ot solves discrete optimal transport problems between the units of
// two layers.
//
// A [Problem] asks for the cheapest way of moving masses a (n source units)
// onto masses b (m target units) at a cost C [n × m]:
//
//	min ⟨P, C⟩   over P ≥ 0,  P 1 = a,  Pᵀ 1 = b
//
// A [Solver] answers with a [Plan]: the coupling P together with its
// marginals. It is read in two ways, [Plan.Push] = P diag(1/b) for what a layer
// writes and [Plan.Pull] = diag(1/a) P for what it reads. The zero Plan is the
// identity.
//
// Costs come from a [Metric] over a [Gram], squared norms and inner products,
// so that second moments of activations are all the data they need. [Scaled]
// brings costs to a common scale, which gives the regularisation of [Sinkhorn]
// its meaning.
//
// [EMD] is exact and can prove it, see [Certify]; [Sinkhorn] is entropic.
// [Unbalanced], [Partial] and [PartialSinkhorn] leave mass behind,
// [GromovWasserstein] and [EntropicGromovWasserstein] compare sides from
// within, and [Barycenter] averages masses.
//
// Solvers are small struct values whose zero value is ready to use; their
// results are the same, bit for bit, at any GOMAXPROCS. Problems that are no
// problems give an [*InvalidError] naming the entry, and an iteration that
// stops early gives its plan together with [*NotConvergedError].
package ot
