package story

import (
	"errors"
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
	Method   string // one of Methods
	Aligner  string
	Solver   string // of transport; "both" is sinkhorn and emd
	Reg      float64
	Residual string
	Tokens   string
	Samples  int
	Learn    int // updates of learned matching
	Batch    int // samples of each
}

// Methods are the values of Choice.Method.
func Methods() []string { return []string{"all", "flow", "match", "learned"} }

// ridge is that of refits; from a tenth to ten times as much does about as well
// on CIFAR-10.
const ridge = 0.01

// The rows of learned matching: on the training set with its labels, and on the
// calibration samples without.
const (
	labelled   = "learned matching, labels, refit"
	unlabelled = "learned matching, no labels, refit"
)

// Labelled reports whether a fusion learns from labels.
func (f Fusion) Labelled() bool { return f.Label == labelled }

// Fusions lists what is tried: every method, transport with every solver that
// was asked for, on activations and on weights, learning with and without
// labels. The first of a method is its best.
func (c Choice) Fusions() ([]Fusion, error) {
	if !slices.Contains(Methods(), c.Method) {
		return nil, fmt.Errorf("-method is %q, allowed are %s", c.Method, strings.Join(Methods(), ", "))
	}
	var out []Fusion
	var errs []error
	add := func(label string, r recipe.Recipe) {
		if c.Method != "all" && c.Method != r.Method {
			return
		}
		r.Samples, r.Tokens = c.Samples, c.Tokens
		r, err := r.Resolve(recipe.Calibrated)
		errs = append(errs, err)
		out = append(out, Fusion{label, r})
	}
	solvers := []string{c.Solver}
	if c.Solver == "both" {
		solvers = []string{"sinkhorn", "emd"}
	}
	transport := recipe.Recipe{Method: "flow", Aligner: c.Aligner, Reg: c.Reg, Residual: c.Residual, Solver: solvers[0], Refit: ridge}
	add(fmt.Sprintf("transport fusion, activations, %s, refit", solvers[0]), transport)
	transport.Refit = 0
	for _, transport.Features = range []string{"activations", "weights"} {
		for _, transport.Solver = range solvers {
			add(fmt.Sprintf("transport fusion, %s, %s", transport.Features, transport.Solver), transport)
		}
	}
	add("matching, activations, refit", recipe.Recipe{Method: "match", Refit: ridge})
	for _, features := range []string{"activations", "weights"} {
		add("matching, "+features, recipe.Recipe{Method: "match", Features: features})
	}
	for _, label := range []string{labelled, unlabelled} {
		add(label, recipe.Recipe{Method: "learned", Steps: c.Learn, Batch: c.Batch, Refit: ridge})
	}
	return out, errors.Join(errs...)
}
