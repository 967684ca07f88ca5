package story

import (
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/recipe"
)

// A Fusion is a recipe under the label of its row.
type Fusion struct {
	Label  string
	Recipe recipe.Recipe
}

// A Choice says which fusions are tried; names and zeros are those of
// [recipe.Recipe].
type Choice struct {
	Method   string // all, flow, match or learned
	Aligner  string
	Solver   string // of transport; "both" is sinkhorn and emd
	Reg      float64
	Residual string
	Tokens   string
	Samples  int
	Learn    int // updates of learned matching
	Batch    int // samples of each
}

// Flags adds the flags that choose, but for that of the tokens. What Learn holds
// is its default.
func (c *Choice) Flags(f *flag.FlagSet) {
	f.IntVar(&c.Samples, "samples", 200, "calibration `samples`, from the training set")
	f.StringVar(&c.Method, "method", "all", "how to `fuse`: flow (transport of the paper), match (exact symmetries), learned (matching refined by gradient) or all, side by side")
	f.StringVar(&c.Aligner, "aligner", "units", "what is `aligned`: units, across heads, or heads first and then the units within; heads go with -solver emd, sinkhorn or both")
	f.StringVar(&c.Solver, "solver", "both", "transport `solver`: emd, sinkhorn, widening, sinkhorn-device or both (emd and sinkhorn)")
	f.Float64Var(&c.Reg, "reg", 0, "regularisation of Sinkhorn, in units of the largest cost (default 0.08 on activations, 0.06 on weights)")
	f.StringVar(&c.Residual, "residual", "average", "residual `policy`: main, skip, identity, average, weighted-scalar or weighted-matrix")
	f.IntVar(&c.Learn, "learn", c.Learn, "`updates` of learned matching")
}

// check reports a flag that is out of bounds.
func (c Choice) check() error {
	switch methods := []string{"all", "flow", "match", "learned"}; {
	case !slices.Contains(methods, c.Method):
		return fmt.Errorf("-method is %q, allowed are %s", c.Method, strings.Join(methods, ", "))
	case c.Samples < 1:
		return fmt.Errorf("-samples is %d, want at least 1", c.Samples)
	case c.Reg < 0:
		return fmt.Errorf("-reg is %g, want more than 0", c.Reg)
	case c.Learn < 1:
		return fmt.Errorf("-learn is %d, want at least 1", c.Learn)
	}
	return nil
}

// Ridge is that of refits; from a tenth to ten times as much does about as well
// on CIFAR-10.
const Ridge = 0.01

// The rows of learned matching: on the training set with its labels, and on the
// calibration samples without.
const (
	labelled   = "learned matching, labels"
	unlabelled = "learned matching, no labels"
)

// Labelled reports whether a fusion learns from labels.
func (f Fusion) Labelled() bool { return strings.HasPrefix(f.Label, labelled) }

// Fusions lists what is tried: every method, transport with every solver that
// was asked for, on activations and on weights, learning with and without
// labels. The first of a method is its best.
func (c Choice) Fusions() ([]Fusion, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	var out []Fusion
	var failed error
	add := func(label string, r recipe.Recipe) {
		if c.Method != "all" && c.Method != r.Method {
			return
		}
		r.Samples, r.Tokens = c.Samples, c.Tokens
		r, err := r.Resolve(recipe.Calibrated)
		if failed == nil {
			failed = err // the others would say the same
		}
		out = append(out, Fusion{label, r})
	}
	solvers := []string{c.Solver}
	if c.Solver == "both" {
		solvers = []string{"sinkhorn", "emd"}
	}
	transport := recipe.Recipe{Method: "flow", Aligner: c.Aligner, Reg: c.Reg, Residual: c.Residual, Solver: solvers[0], Refit: Ridge}
	add(fmt.Sprintf("transport fusion, activations, %s, refit", solvers[0]), transport)
	transport.Refit = 0
	for _, transport.Features = range []string{"activations", "weights"} {
		for _, transport.Solver = range solvers {
			add(fmt.Sprintf("transport fusion, %s, %s", transport.Features, transport.Solver), transport)
		}
	}
	add("matching, activations, refit", recipe.Recipe{Method: "match", Refit: Ridge})
	for _, features := range []string{"activations", "weights"} {
		add("matching, "+features, recipe.Recipe{Method: "match", Features: features})
	}
	for _, label := range []string{labelled, unlabelled} {
		add(label, recipe.Recipe{Method: "learned", Steps: c.Learn, Batch: c.Batch, Inexact: true})
	}
	return out, failed
}
