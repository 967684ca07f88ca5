package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/recipe"
)

// table is one of the paper: what is fused, in which ways, and what is
// measured beside accuracy and loss.
type table struct {
	name, title string
	parents     func(scale) [][]kind // groups of them, the anchor first; rows are means over groups
	trials      []lab.Trial
	tuned       int // parents that are finetuned beside the fusions; 0 for no finetuning
	// points on the way from the anchor to what the other model became, for barriers, where nothing is refitted; 0 for
	// none
	line     int
	profiled bool                                // every fusion is made twice and its stages are timed
	make     func(*study, context.Context) error // fills in the result; nil for parents, trials and finetuning as rows
}

// The paper's names for its recipes.
func vanilla() lab.Trial {
	return lab.Trial{Label: "VF", Recipe: recipe.Recipe{Method: recipe.Vanilla}}
}
func weights() lab.Trial {
	return lab.Trial{Label: "OT-WTS", Recipe: recipe.Recipe{Features: "weights"}}
}
func activations() lab.Trial { return lab.Trial{Label: "OT-ACTS"} }

// exactPlans are its recipes with exact plans.
func exactPlans() []lab.Trial {
	return []lab.Trial{{Label: "OT-ACTS-EMD", Recipe: recipe.Recipe{Solver: "emd"}},
		{Label: "OT-WTS-EMD", Recipe: recipe.Recipe{Features: "weights", Solver: "emd"}}}
}

// matching are the ways by exact symmetries, which the paper does not have.
func matching() []lab.Trial {
	return []lab.Trial{{Label: "matching, weights", Recipe: recipe.Recipe{Method: recipe.Match, Features: "weights"}},
		{Label: "matching, activations", Recipe: recipe.Recipe{Method: recipe.Match}}}
}

// refitted is the trial with a refit after it.
func refitted(t lab.Trial) lab.Trial {
	t.Label += ", refit"
	t.Recipe.Refit = lab.Ridge
	return t
}

// distilled trains the anchor on what all parents answer on the same samples: what has to
// be beaten.
func distilled(s scale, tune lab.Schedule) lab.Trial {
	return lab.Trial{Label: "anchor, distilled on the same samples",
		Recipe: recipe.Recipe{Method: recipe.Distil, Steps: s.Learn, Batch: min(128, tune.Batch)}}
}

// bestMatching are the ways by exact symmetries that are worth finetuning.
func bestMatching(s scale, tune lab.Schedule) []lab.Trial {
	return []lab.Trial{refitted(matching()[1]), learning(s, tune)[1]}
}

// learning refines them by gradient, in batches that finetuning could take.
func learning(s scale, tune lab.Schedule) []lab.Trial {
	r := recipe.Recipe{Method: recipe.Learned, Steps: s.Learn, Batch: min(128, tune.Batch)}
	return []lab.Trial{{Label: "learned, no labels", Recipe: r}, {Label: "learned, labels", Recipe: r, Labels: true}}
}

// inexact are trials of learned matching that turn streams also where that is no
// symmetry.
func inexact(trials []lab.Trial) (out []lab.Trial) {
	for _, t := range trials {
		t.Label += ", turned stream"
		t.Recipe.Inexact = true
		out = append(out, t)
	}
	return out
}

// symmetries are all these beside vanilla fusion and the paper's, each also
// refitted.
func symmetries(s scale, tune lab.Schedule) (out []lab.Trial) {
	for _, t := range slices.Concat([]lab.Trial{vanilla(), activations()}, matching(), learning(s, tune)) {
		out = append(out, t, refitted(t))
	}
	return out
}

// sweep makes a trial of each value of what an ablation varies.
func sweep[T any](name string, values []T, set func(*recipe.Recipe, T)) (out []lab.Trial) {
	for _, v := range values {
		t := lab.Trial{Label: fmt.Sprintf("%s %v", name, v)}
		set(&t.Recipe, v)
		out = append(out, t)
	}
	return out
}

// tables lists what can be run. To add one, say what is fused and how.
func tables(s scale) []table {
	usual := []lab.Trial{vanilla(), weights(), activations()}
	samples := func(r *recipe.Recipe, v int) { r.Samples = v }
	return []table{
		{name: "oneshot", title: "One-shot fusion of two models", parents: pair,
			trials: slices.Concat(usual, exactPlans(), []lab.Trial{distilled(s, s.Tune)})},
		{name: "finetuned", title: "Two models fused and finetuned", parents: pair,
			trials: slices.Concat(usual, bestMatching(s, s.Tune)), tuned: 2},
		{name: "compress", title: "A wide model fused into a narrow one", parents: compress, tuned: 1,
			trials: slices.Concat([]lab.Trial{weights(), activations(), {Label: "OT-ACTS widening",
				Recipe: recipe.Recipe{Solver: "widening"}}}, bestMatching(s, s.Tune), []lab.Trial{distilled(s, s.Tune)})},
		{name: "widen", title: "A narrow model fused into a wide one", parents: widen,
			trials: []lab.Trial{weights(), activations()}},
		{name: "residual", title: "Residual policies", parents: pair,
			trials: sweep("residual", []string{"main", "skip", "identity", "average", "weighted-scalar", "weighted-matrix"},
				func(r *recipe.Recipe, v string) { r.Residual = v })},
		{name: "qk", title: "Maps of queries and keys", parents: pair,
			trials: sweep("qk", []string{"separate", "shared", "joint"}, func(r *recipe.Recipe, v string) { r.QK = v })},
		{name: "heads", title: "Units aligned across heads, or heads first", parents: pair, trials: heads()},
		{name: "tokens", title: "Which tokens units are aligned on", parents: pair, trials: tokens(s.Windows)},
		{name: "reg", title: "Regularisation, from hard to soft", parents: pair,
			trials: slices.Concat([]lab.Trial{{Label: "emd", Recipe: recipe.Recipe{Solver: "emd"}}},
				sweep("reg", []float64{0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64},
					func(r *recipe.Recipe, v float64) { r.Reg = v }))},
		{name: "samples", title: "Calibration images", parents: pair,
			trials: sweep("samples", []int{12, 25, 50, 100, 200, 400, 800}, samples)},
		{name: "profile", title: "Time and memory of every stage", parents: pair, profiled: true,
			trials: slices.Concat([]lab.Trial{weights(), activations()}, exactPlans(),
				sweep("OT-ACTS, samples", []int{50, 800}, samples), matching())},
		{name: "bert", title: "One-shot fusion of two BERTs", parents: texts,
			trials: slices.Concat(usual, exactPlans(), matching(), []lab.Trial{distilled(s, s.TuneText)}), line: 11},
		{name: "bert-finetuned", title: "Two BERTs fused and finetuned", parents: texts,
			trials: slices.Concat(usual, bestMatching(s, s.TuneText), inexact(learning(s, s.TuneText)[1:])), tuned: 2},
		{name: "pairs", title: "Three fresh pairs: barriers along the line, beside exact symmetries", parents: pairs,
			trials: slices.Concat([]lab.Trial{vanilla(), activations()}, matching(), learning(s, s.Tune)), line: 21},
		{name: "symmetries-vit", title: "Exact symmetries of a ViT", parents: pair, trials: symmetries(s, s.Tune), line: 11},
		{name: "symmetries-simplevit", title: "Exact symmetries of a SimpleViT, whose stream is pinned", parents: simple,
			trials: slices.Concat(symmetries(s, s.Tune), inexact(learning(s, s.Tune))), line: 11},
		{name: "symmetries-bert", title: "Exact symmetries of a BERT, with norms behind the sums", parents: texts,
			trials: slices.Concat(symmetries(s, s.TuneText), inexact(learning(s, s.TuneText))), line: 11},
		{
			name:    "groups",
			title:   "Hard and soft plans inside the exact groups",
			parents: pair,
			trials: slices.Concat(matching(),
				sweep("matching, activations, reg", []float64{0.01, 0.04, 0.16},
					func(r *recipe.Recipe, v float64) { r.Method, r.Solver, r.Reg = recipe.Match, "sinkhorn", v })),
		},
		{name: "many", title: fmt.Sprintf("%d models fused and finetuned", s.Models), parents: crowd,
			trials: slices.Concat(usual, bestMatching(s, s.Tune)), tuned: 1},
	}
}

// allTables are the tables and what is laid out otherwise.
func allTables(s scale) []table {
	return append(tables(s), growthTable(), landscapeTable(), shrinkageTable())
}

// tableNamed returns a table by its name.
func tableNamed(s scale, name string) table {
	all := allTables(s)
	return all[slices.IndexFunc(all, func(t table) bool { return t.name == name })]
}

// heads compares both ways to align attention under both solvers.
func heads() (out []lab.Trial) {
	for _, solver := range []string{"sinkhorn", "emd"} {
		out = append(out, sweep(solver+",", []string{"units", "heads"},
			func(r *recipe.Recipe, v string) { r.Solver, r.Aligner = solver, v })...)
	}
	return out
}

// tokens compares token filters: none at all, then with the class token alone
// where the network reads nothing else.
func tokens(windows []int) []lab.Trial {
	no := false
	filters := []string{"all", "cls", "mean"}
	for _, w := range windows {
		filters = append(filters, fmt.Sprint("window:", w))
	}
	return slices.Concat([]lab.Trial{{Label: "no filter", Recipe: recipe.Recipe{Tokens: "all", Narrow: &no}}},
		sweep("tokens", filters, func(r *recipe.Recipe, v string) { r.Tokens = v }))
}
