package lab

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/recipe"
)

// Choice says which trials a program makes; names and zeros are those of
// [recipe.Recipe].
type Choice struct {
	Method   string // allMethods, or a method that aligns
	Aligner  string
	Solver   string // of transport; "both" is sinkhorn and emd
	Reg      float64
	Residual string
	Tokens   string
	Samples  int
	Learn    int    // updates of learned matching
	LearnOn  string // what it sees, a row for each: some of learnOn, comma-separated; empty means "labels,samples"
	Batch    int    // samples of each
	Distil   int    // updates of distillation on the samples
	Mixed    bool   // learned matching without labels and distillation see samples laid over each other
	Brief    bool   // the few trials that tell the story; where Method is allMethods
	Untied   bool   // matching is tried on parents whose logits have a layer of their own, and as they are
}

// allMethods stands for every method that aligns, side by side.
const allMethods = "all"

// Flags adds the flags that choose, but for that of the tokens. What Learn holds
// is its default.
func (c *Choice) Flags(f *flag.FlagSet) {
	f.IntVar(&c.Samples, "samples", 200, "calibration `samples`, from the training set")
	f.StringVar(&c.Method, "method", allMethods,
		"how to `fuse`: flow (transport of the paper), match (exact symmetries), learned (matching refined by gradient), "+
			"concatenate (side by side, each cut to its share of the width), distil (training on what the parents answer) "+
			"or all, one after the other")
	f.StringVar(&c.Aligner, "aligner", "units",
		"what is `aligned`: units, across heads, or heads first and then the units within; heads go with -solver emd, "+
			"sinkhorn or both")
	f.StringVar(&c.Solver, "solver", "both",
		"transport `solver`: emd, sinkhorn, widening, sinkhorn-device or both (emd and sinkhorn)")
	f.Float64Var(&c.Reg, "reg", 0, "regularisation of Sinkhorn, in units of the largest cost (default 0.08 on "+
		"activations, 0.06 on weights)")
	f.StringVar(&c.Residual, "residual", "average",
		"residual `policy`: main, skip, identity, average, weighted-scalar or weighted-matrix")
	f.IntVar(&c.Learn, "learn", c.Learn, "`updates` of learned matching")
	f.IntVar(&c.Batch, "learn-batch", c.Batch, "`samples` of an update of learned matching, and of distillation on the "+
		"calibration samples")
	f.StringVar(&c.LearnOn, "learn-on", cmp.Or(c.LearnOn, "labels,samples"), "`what` learned matching sees, "+
		"comma-separated, a row for each: labels (all training samples with their labels), all (all without labels) or "+
		"samples (the calibration samples without labels)")
	f.IntVar(&c.Distil, "distil", c.Distil, "`updates` of distillation on the calibration samples")
}

// check reports a flag that is out of bounds.
func (c Choice) check() error {
	switch methods := []string{allMethods, recipe.Flow, recipe.Match, recipe.Learned, recipe.Concatenate, recipe.Distil}; {
	case !slices.Contains(methods, c.Method):
		return fmt.Errorf("-method is %q, allowed are %s", c.Method, strings.Join(methods, ", "))
	case c.Samples < 1:
		return fmt.Errorf("-samples is %d, want at least 1", c.Samples)
	case c.Reg < 0:
		return fmt.Errorf("-reg is %g, want more than 0", c.Reg)
	case c.Learn < 1:
		return fmt.Errorf("-learn is %d, want at least 1", c.Learn)
	case c.Batch < 1:
		return fmt.Errorf("-learn-batch is %d, want at least 1", c.Batch)
	case c.Distil < 1:
		return fmt.Errorf("-distil is %d, want at least 1", c.Distil)
	}
	for _, on := range c.learnOn() {
		if _, ok := learnOn()[on]; !ok {
			return fmt.Errorf("-learn-on is %q, allowed are labels, all, samples, comma-separated", c.LearnOn)
		}
	}
	return nil
}

// Ridge is that of refits; from a tenth to ten times as much does about as well
// on CIFAR-10.
const Ridge = 0.01

// Baselines are what the trials have to beat: the mean of the parents as they
// are, and what a refit on all tokens makes of it.
func (c Choice) Baselines() []Trial {
	every := false
	mean := recipe.Recipe{Method: recipe.Vanilla, Samples: c.Samples, Tokens: "all", Narrow: &every}
	refitted := mean
	refitted.Refit = Ridge
	out := []Trial{{Label: "vanilla fusion", Recipe: mean, Shown: true},
		{Label: "vanilla fusion, refit", Recipe: refitted}}
	if c.brief() {
		return out[:1]
	}
	return out
}

// brief reports whether only the story is told.
func (c Choice) brief() bool { return c.Brief && c.Method == allMethods }

// Trials lists what is tried: every method, transport with every solver that was
// asked for, on activations and on weights, learning on all that was asked for, and a
// parent distilled from all on the same samples, which every method has to beat. The
// first of a method that aligns does best; it is the one that is shown.
func (c Choice) Trials() ([]Trial, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	var out []Trial
	var failed error
	add := func(t Trial) {
		if c.Method != allMethods && c.Method != t.Recipe.Method && t.Label != DistilledAnchor {
			return
		}
		t.Recipe.Samples = c.Samples
		if a := t.Recipe.Alignment(); a != nil {
			a.Tokens = c.Tokens
		}
		if _, err := t.Resolved(); failed == nil {
			failed = err // the others would say the same
		}
		onLine := !t.Recipe.Distils() && t.Recipe.Method != recipe.Concatenate
		t.Shown = onLine && (len(out) == 0 || out[len(out)-1].Recipe.Method != t.Recipe.Method)
		out = append(out, t)
	}
	all := slices.Concat(c.transport(), c.matching(), c.concatenation(), c.distillation())
	if c.brief() {
		all = slices.Concat(c.transport()[1:2], c.matching()[:2], c.concatenation()[:1], c.distillation()[:1])
	}
	for _, t := range all {
		add(t)
	}
	return out, failed
}

// DistilledAnchor is the label of the trial that every method has to beat.
const DistilledAnchor = "anchor, distilled on the same samples"

// concatenation are the trials that lay parents side by side, with a refit and by weights
// alone.
func (c Choice) concatenation() []Trial {
	return []Trial{{Label: SideBySide, Recipe: recipe.Recipe{Method: recipe.Concatenate, Refit: Ridge}, Untied: c.Untied},
		{Label: "side by side, weights", Recipe: recipe.Recipe{Method: recipe.Concatenate, Features: "weights"},
			Untied: c.Untied}}
}

// SideBySide is the label of the trial that lays parents side by side.
const SideBySide = "side by side, refit"

// distillation are the trials that train on what the parents answer on the samples.
func (c Choice) distillation() []Trial {
	r := recipe.Recipe{Method: recipe.Distil, Steps: c.Distil, Batch: c.Batch}
	matched := r
	matched.Start = &recipe.Recipe{Method: recipe.Match, Refit: Ridge}
	return []Trial{{Label: DistilledAnchor, Recipe: r, Mixed: c.Mixed},
		{Label: "matching, refit, distilled on the same samples", Recipe: matched, Mixed: c.Mixed}}
}

// transport are the trials of the paper's method.
func (c Choice) transport() []Trial {
	solvers := []string{c.Solver}
	if c.Solver == "both" {
		solvers = []string{"sinkhorn", "emd"}
	}
	r := recipe.Recipe{Method: recipe.Flow, Aligner: c.Aligner, Reg: c.Reg, Residual: c.Residual, Solver: solvers[0],
		Refit: Ridge}
	out := []Trial{{Label: fmt.Sprintf("transport fusion, activations, %s, refit", solvers[0]), Recipe: r}}
	r.Refit = 0
	for _, r.Features = range []string{"activations", "weights"} {
		for _, r.Solver = range solvers {
			out = append(out, Trial{Label: fmt.Sprintf("transport fusion, %s, %s", r.Features, r.Solver), Recipe: r})
		}
	}
	return out
}

// matching are the trials by exact symmetries, which are more where the words are not
// tied.
func (c Choice) matching() []Trial {
	tied := c.symmetries()
	if !c.Untied {
		return tied
	}
	out := slices.Clone(tied)
	for i := range out {
		out[i].Untied = true
		out[i].Label = strings.Replace(out[i].Label, "matching", "matching, untied", 1)
	}
	out = append(out, tied...)
	// Rows of a method stand together: those of match, then those of learned.
	slices.SortStableFunc(out, func(a, b Trial) int { return strings.Compare(b.Recipe.Method, a.Recipe.Method) })
	return out
}

// symmetries are the trials of matching on parents as they are.
func (c Choice) symmetries() []Trial {
	learned := recipe.Recipe{Method: recipe.Learned, Steps: c.Learn, Batch: c.Batch, Inexact: true}
	out := []Trial{
		{Label: "matching, activations, refit", Recipe: recipe.Recipe{Method: recipe.Match, Refit: Ridge}},
		{Label: "matching, activations", Recipe: recipe.Recipe{Method: recipe.Match, Features: "activations"}},
		{Label: "matching, weights", Recipe: recipe.Recipe{Method: recipe.Match, Features: "weights"}},
	}
	for _, on := range c.learnOn() {
		t := learnOn()[on]
		t.Recipe, t.Mixed = learned, c.Mixed && on == "samples"
		out = append(out, t)
	}
	return out
}

// learnOn are the trials of learned matching but for their recipe, by what they see.
func learnOn() map[string]Trial {
	return map[string]Trial{
		"labels":  {Label: "learned matching, labels", Labels: true},
		"all":     {Label: "learned matching, all samples, no labels", All: true},
		"samples": {Label: "learned matching, no labels"},
	}
}

// learnOn is what learned matching sees.
func (c Choice) learnOn() []string { return strings.Split(cmp.Or(c.LearnOn, "labels,samples"), ",") }
