// Package ot solves discrete optimal transport problems between the units of two
// layers.
//
// A [Problem] asks for the cheapest way of moving masses a (n source units) onto masses
// b (m target units) at a cost C [n × m]:
//
//	min ⟨P, C⟩   over P ≥ 0,  P 1 = a,  Pᵀ 1 = b
//
// A [Solver] answers with a [Plan], the coupling P together with its marginals. A plan is
// read in two ways: [Plan.Push] = P diag(1/b) for what a layer writes, and [Plan.Pull] =
// diag(1/a) P for what it reads. [Plan.Project] is the barycentric projection. The zero
// Plan is the identity.
//
// # Costs
//
// Costs come from a [Metric] over a [Gram] of squared norms and inner products, so that
// second moments of activations are all the data that is needed; [PNorm] takes features
// themselves. [Scaled] brings costs to a common scale, which gives the regularisation of
// entropic solvers the same meaning everywhere.
//
// # Solvers
//
//   - [EMD] is exact, and its potentials prove it, see [Certify]; [Line] is the closed
//     form for points on a line.
//   - [Sinkhorn] is entropic; [Sinkhorn.Divergence] removes its bias.
//   - [Unbalanced], [Partial] and [PartialSinkhorn] need not move all mass.
//   - [GromovWasserstein] and [EntropicGromovWasserstein] compare the distances within
//     the two sides.
//   - [Barycenter] averages masses.
//
// Solvers are small struct values whose zero value is ready to use. Their results are the
// same, bit for bit, at any GOMAXPROCS. Invalid input gives an [*InvalidError] that names
// the entry, and no panic leaves the package. An iteration that stops early returns its
// plan together with a [*NotConvergedError]. Entropic solvers implement [ResultSolver]:
// they also return dual potentials, objectives, iterations and residual, and they start
// from the potentials of a similar problem.
//
// # Words
//
// The words of other libraries, and ours:
//
//   - POT: reg is Reg, reg_m is Penalty, m of partial transport is Share times the mass,
//     log['u'] and log['v'] are exp(U/ε) and exp(V/ε) of [Duals], transform is Project.
//   - OTT: epsilon is Reg, tau_a is Penalty/(Penalty + Reg), f and g are U and V, apply is
//     a product with Mass, threshold and max_iterations are Tol and MaxIter.
//   - SciPy: linear_sum_assignment is [EMD] without masses followed by [Plan.Permutation],
//     which lists a row for each column; wasserstein_distance is the cost of [Line].
package ot
