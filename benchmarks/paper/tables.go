package main

import (
	"fmt"

	"github.com/otfuse/otfuse/internal/recipe"
)

// A table is one of the paper: what is fused, and in which ways.
type table struct {
	name, title string
	parents     func(scale) []kind // anchor first
	trials      []trial
	tuned       int // parents that are finetuned beside the fusions; 0 for no finetuning
}

// A trial is one way to fuse.
type trial struct {
	Label  string        `json:"label"`
	Recipe recipe.Recipe `json:"recipe"`
}

// The paper's names for its recipes.
func vanilla() trial     { return trial{"VF", recipe.Recipe{Method: "vanilla"}} }
func weights() trial     { return trial{"OT-WTS", recipe.Recipe{Features: "weights"}} }
func activations() trial { return trial{"OT-ACTS", recipe.Recipe{}} }

// over makes a trial of each value of what an ablation varies.
func over[T any](name string, values []T, set func(*recipe.Recipe, T)) (out []trial) {
	for _, v := range values {
		t := trial{Label: fmt.Sprintf("%s %v", name, v)}
		set(&t.Recipe, v)
		out = append(out, t)
	}
	return out
}

// tables lists what can be run. To add one, say what is fused and how.
func tables(s scale) []table {
	usual := []trial{vanilla(), weights(), activations()}
	out := []table{
		{"oneshot", "One-shot fusion of two models", pair,
			append(usual, trial{"OT-ACTS-EMD", recipe.Recipe{Solver: "emd"}}, trial{"OT-WTS-EMD", recipe.Recipe{Features: "weights", Solver: "emd"}}), 0},
		{"finetuned", "Two models fused and finetuned", pair, usual, 2},
		{"compress", "A wide model fused into a narrow one", compress,
			[]trial{weights(), activations(), {"OT-ACTS widening", recipe.Recipe{Solver: "widening"}}}, 1},
		{"widen", "A narrow model fused into a wide one", widen, []trial{weights(), activations()}, 0},
		{"residual", "Residual policies", pair,
			over("residual", []string{"main", "skip", "identity", "average", "weighted-scalar", "weighted-matrix"}, func(r *recipe.Recipe, v string) { r.Residual = v }), 0},
		{"qk", "Maps of queries and keys", pair,
			over("qk", []string{"separate", "shared", "joint"}, func(r *recipe.Recipe, v string) { r.QK = v }), 0},
		{"heads", "Units aligned across heads, or heads first", pair, heads(), 0},
		{"tokens", "Which tokens units are aligned on", pair, tokens(s.Windows), 0},
		{"reg", "Regularisation, from hard to soft", pair, append([]trial{{"emd", recipe.Recipe{Solver: "emd"}}},
			over("reg", []float64{0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64}, func(r *recipe.Recipe, v float64) { r.Reg = v })...), 0},
		{"samples", "Calibration images", pair,
			over("samples", []int{12, 25, 50, 100, 200, 400, 800}, func(r *recipe.Recipe, v int) { r.Samples = v }), 0},
	}
	for n := 2; n <= s.Models; n++ {
		if n == 2 || n == s.Models {
			out = append(out, table{fmt.Sprintf("many%d", n), fmt.Sprintf("%d models fused and finetuned", n), crowd(n), usual, 1})
		}
	}
	return out
}

// heads compares both ways to align attention under both solvers.
func heads() (out []trial) {
	for _, solver := range []string{"sinkhorn", "emd"} {
		out = append(out, over(solver+",", []string{"units", "heads"}, func(r *recipe.Recipe, v string) { r.Solver, r.Aligner = solver, v })...)
	}
	return out
}

// tokens compares token filters: none at all, then with the class token alone
// where the network reads nothing else.
func tokens(windows []int) []trial {
	no := false
	filters := []string{"all", "cls", "mean"}
	for _, w := range windows {
		filters = append(filters, fmt.Sprint("window:", w))
	}
	return append([]trial{{"no filter", recipe.Recipe{Tokens: "all", Narrow: &no}}},
		over("tokens", filters, func(r *recipe.Recipe, v string) { r.Tokens = v })...)
}
