package ot_test

import (
	"context"
	"errors"
	"fmt"
	"math"

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

// A warm start from the potentials of a similar problem saves time, not accuracy.
func ExampleEMD() {
	cost := mat.NewDense(2, 2, []float64{1, 2, 2, 1.5})
	_, duals, err := ot.EMD{}.SolveDual(context.Background(), ot.Problem{Cost: cost})
	if err != nil {
		fmt.Println(err)
		return
	}
	cost.Set(0, 0, 1.1)
	plan, err := ot.EMD{Start: &duals}.Solve(context.Background(), ot.Problem{Cost: cost})
	fmt.Println(plan.Cost(cost), err)
	// Output: 1.3 <nil>
}

// Mass may be lost on the way where moving it costs more than the penalty.
func ExampleUnbalanced() {
	p := ot.Problem{Cost: mat.NewDense(2, 2, []float64{0, 5, 5, 4})}
	plan, err := ot.Unbalanced{Reg: 0.01, Penalty: 1}.Solve(context.Background(), p)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f\n", mat.Formatted(plan.Mass()))
	// Output:
	// ⎡0.50  0.00⎤
	// ⎣0.00  0.07⎦
}

// Half of the mass is moved where it is cheapest.
func ExamplePartial() {
	p := ot.Problem{Cost: mat.NewDense(2, 2, []float64{0, 5, 5, 4})}
	plan, err := ot.Partial{Share: 0.5}.Solve(context.Background(), p)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mat.Formatted(plan.Mass()))
	// Output:
	// ⎡0.5    0⎤
	// ⎣  0    0⎦
}

func ExamplePartialSinkhorn() {
	p := ot.Problem{Cost: mat.NewDense(2, 2, []float64{0, 1, 1, 0.5})}
	plan, err := ot.PartialSinkhorn{Share: 0.8, Reg: 0.2}.Solve(context.Background(), p)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("moved %.2f at %.3f\n", mat.Sum(plan.Mass()), plan.Cost(p.Cost))
	// Output: moved 0.80 at 0.163
}

// The barycenter of two masses on a line lies between them.
func ExampleBarycenter() {
	cost, err := ot.SqEuclidean{}.Cost(ot.NewGram(
		mat.NewDense(5, 1, []float64{0, 1, 2, 3, 4}), mat.NewDense(5, 1, []float64{0, 1, 2, 3, 4})))
	if err != nil {
		fmt.Println(err)
		return
	}
	masses := [][]float64{{1, 0, 0, 0, 0}, {0, 0, 0, 0, 1}}
	p, err := ot.Barycenter{Reg: 0.1}.Solve(context.Background(), cost, masses, nil)
	fmt.Printf("%.2f %v\n", p, err)
	// Output: [0.00 0.00 1.00 0.00 0.00] <nil>
}

// Points on a line need no solver.
func ExampleLine() {
	plan, cost, err := ot.Line{X: []float64{3, 0, 1}, Y: []float64{2, 5, 1}}.Solve()
	if err != nil {
		fmt.Println(err)
		return
	}
	perm, _ := plan.Permutation()
	fmt.Printf("%v %.2f\n", perm, cost)
	// Output: [2 0 1] 1.33
}

// The divergence of a side with itself is zero, which the entropic cost is not.
func ExampleSinkhorn_Divergence() {
	x := mat.NewDense(2, 2, []float64{0, 1, 1, 0})
	q := ot.Quadratic{X: x, Y: x, Cost: x}
	s := ot.Sinkhorn{Reg: 0.5}
	plan, err := s.Solve(context.Background(), ot.Problem{Cost: q.Cost})
	if err != nil {
		fmt.Println(err)
		return
	}
	divergence, err := s.Divergence(context.Background(), q)
	fmt.Printf("cost %.3f, divergence %.3f %v\n", plan.Cost(x), divergence, err)
	// Output: cost 0.119, divergence 0.000 <nil>
}

// The Gram of many features is made in blocks of them.
func ExampleGram_Add() {
	var g ot.Gram
	for _, block := range [][2]*mat.Dense{
		{mat.NewDense(2, 1, []float64{3, 0}), mat.NewDense(1, 1, []float64{0})},
		{mat.NewDense(2, 1, []float64{4, 1}), mat.NewDense(1, 1, []float64{0})},
	} {
		if err := g.Add(block[0], block[1]); err != nil {
			fmt.Println(err)
			return
		}
	}
	cost, err := ot.Euclidean{}.Cost(g)
	fmt.Println(mat.Formatted(cost), err)
	// Output:
	// ⎡5⎤
	// ⎣1⎦ <nil>
}

func ExampleScaled() {
	g := ot.NewGram(mat.NewDense(1, 1, []float64{0}), mat.NewDense(3, 1, []float64{1, 2, 4}))
	for _, by := range []ot.Scale{nil, ot.ScaleMax{}, ot.ScaleMedian{}} {
		cost, err := ot.Scaled{Metric: ot.Euclidean{}, By: by}.Cost(g)
		fmt.Println(mat.Formatted(cost), err)
	}
	// Output:
	// [1  2  4] <nil>
	// [0.25   0.5     1] <nil>
	// [0.5    1    2] <nil>
}

func ExamplePNorm() {
	x, y := mat.NewDense(1, 2, []float64{0, 0}), mat.NewDense(1, 2, []float64{3, 4})
	for _, p := range []float64{1, 2, math.Inf(1)} {
		cost, err := ot.PNorm(p, x, y)
		fmt.Println(cost.At(0, 0), err)
	}
	// Output:
	// 7 <nil>
	// 5 <nil>
	// 4 <nil>
}

// Costs of float32 are read without a copy where all masses are equal.
func ExampleDenseFloat32() {
	cost := ot.DenseFloat32{N: 2, M: 2, Data: []float32{1, 0, 0, 1}}
	plan, err := ot.EMD{}.Solve(context.Background(), ot.Problem{Cost: cost})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.Permutation())
	// Output: [1 0] true
}

func ExamplePermutationPlan() {
	plan, err := ot.PermutationPlan([]int{1, 2, 0})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mat.Formatted(plan.Push()))
	// Output:
	// ⎡0  0  1⎤
	// ⎢1  0  0⎥
	// ⎣0  1  0⎦
}

func ExampleInvalidError() {
	p := ot.Problem{Cost: mat.NewDense(1, 2, []float64{1, 2}), B: []float64{2, -1}}
	_, err := ot.EMD{}.Solve(context.Background(), p)
	fmt.Println(err)
	fmt.Println(errors.Is(err, ot.ErrNegative))
	// Output:
	// ot: B[1] = -1: negative
	// true
}

func ExampleEntropicGromovWasserstein() {
	x := mat.NewDense(3, 3, []float64{0, 1, 4, 1, 0, 3, 4, 3, 0})
	r, err := ot.EntropicGromovWasserstein{Reg: 0.5}.SolveResult(context.Background(), ot.Quadratic{X: x, Y: x})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f on the diagonal, objective %.2f\n", r.Plan.Diagonal(), r.Objective)
	// Output: 0.99 on the diagonal, objective 0.03
}
