package ot_test

import (
	"context"
	"errors"
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/ot"
)

// Units of one layer are matched with those of another by their features.
func Example() {
	source := mat.NewDense(3, 2, []float64{1, 0, 0, 1, -1, 0})
	target := mat.NewDense(3, 2, []float64{-0.9, 0.1, 1, 0.1, 0.2, 1})
	cost, err := ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}.Cost(ot.NewGram(source, target))
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := ot.EMD{}.Solve(context.Background(), ot.Problem{Cost: cost})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.Permutation())
	// Output: [2 0 1] true
}

// A plan between layers of unequal width is read in two ways.
func ExamplePlan() {
	plan, err := ot.NewPlan(mat.NewDense(2, 4, []float64{
		0.25, 0.25, 0, 0,
		0, 0, 0.25, 0.25,
	}), nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mat.Formatted(plan.Push()))
	fmt.Println(mat.Formatted(plan.Pull()))
	// Output:
	// ⎡1  1  0  0⎤
	// ⎣0  0  1  1⎦
	// ⎡0.5  0.5    0    0⎤
	// ⎣  0    0  0.5  0.5⎦
}

// The barycentric projection of POT and OTT: source units go to the mean of the
// points that they are coupled with.
func ExamplePlan_Project() {
	cost := mat.NewDense(1, 2, []float64{1, 1})
	plan, err := ot.EMD{}.Solve(context.Background(), ot.Problem{Cost: cost})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan)
	projected, err := plan.Project(mat.NewDense(2, 2, []float64{0, 0, 4, 2}))
	fmt.Println(mat.Formatted(projected), err)
	// Output:
	// plan of 1 × 2 units: mass 1, entropy 0.6931 nats, 0.5 on the diagonal
	// [2  1] <nil>
}

// Regularisation spreads mass over units that cost about the same.
func ExampleSinkhorn() {
	p := ot.Problem{Cost: mat.NewDense(2, 2, []float64{0, 1, 1, 0})}
	for _, reg := range []float64{10, 0.5, 0.05} {
		plan, err := ot.Sinkhorn{Reg: reg}.Solve(context.Background(), p)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("reg %-4g stays %.2f\n", reg, plan.Diagonal())
	}
	// Output:
	// reg 10   stays 0.52
	// reg 0.5  stays 0.88
	// reg 0.05 stays 1.00
}

// A plan that did not converge is still a plan.
func ExampleNotConvergedError() {
	p := ot.Problem{Cost: mat.NewDense(2, 2, []float64{0, 1, 0.5, 0}), A: []float64{0.7, 0.3}}
	plan, err := ot.Sinkhorn{Reg: 0.1, MaxIter: 1}.Solve(context.Background(), p)
	var late *ot.NotConvergedError
	fmt.Println(errors.As(err, &late), plan.IsIdentity(), late.Residual > ot.DefaultTol)
	// Output: true false true
}

// The potentials prove that no plan is cheaper.
func ExampleEMD_SolveDual() {
	p := ot.Problem{
		Cost: mat.NewDense(2, 3, []float64{1, 2, 3, 4, 1, 1}),
		A:    []float64{0.5, 0.5},
		B:    []float64{0.25, 0.25, 0.5},
	}
	plan, duals, err := ot.EMD{}.SolveDual(context.Background(), p)
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := ot.Certify(p, plan, duals)
	fmt.Println(cert.Primal, cert.Gap, cert.Infeasible, err)
	// Output: 1.25 0 0 <nil>
}

// Sides without a common space are matched by the distances within each.
func ExampleGromovWasserstein() {
	x := mat.NewDense(3, 3, []float64{0, 1, 4, 1, 0, 3, 4, 3, 0}) // points 0, 1, 4
	y := mat.NewDense(3, 3, []float64{0, 3, 1, 3, 0, 4, 1, 4, 0}) // points 8, 5, 9
	q := ot.Quadratic{X: x, Y: y}
	soft, _, err := ot.EntropicGromovWasserstein{Reg: 0.5}.Solve(context.Background(), q)
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, objective, err := ot.GromovWasserstein{Start: &soft}.Solve(context.Background(), q)
	if err != nil {
		fmt.Println(err)
		return
	}
	perm, ok := plan.Permutation()
	fmt.Printf("%v %v %.1f\n", perm, ok, objective)
	// Output: [1 2 0] true 0.0
}

// A result holds the potentials, both objectives and how the solver came there;
// the potentials of one problem start the next one close to its solution.
func ExampleSinkhorn_SolveResult() {
	p := ot.Problem{Cost: mat.NewDense(2, 2, []float64{0, 1, 0.5, 0}), A: []float64{0.7, 0.3}}
	r, err := ot.Sinkhorn{Reg: 0.2}.SolveResult(context.Background(), p)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("cost %.4f, regularised %.4f\n", r.Objective, r.Regularised)
	p.A = []float64{0.69, 0.31}
	next, err := ot.Sinkhorn{Reg: 0.2, Start: &r.Duals}.SolveResult(context.Background(), p)
	fmt.Println(next.Iterations < r.Iterations, err)
	// Output:
	// cost 0.2006, regularised -0.2060
	// true <nil>
}
