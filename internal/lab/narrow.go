package lab

import (
	"context"
	"flag"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// Narrow asks an experiment for narrow networks: one that is drawn, one into which the
// first parent is carried at random, one into which it is matched, nothing of the drawn
// one left, the same without the refit, and one from all parents.
type Narrow struct {
	Network *models.Model // as it was drawn; nil for none
	Of      []string      // labels of the rows, in this order
	Trial   Trial         // how the parents are matched
}

// The labels of the rows of narrow networks.
const (
	drawn     = "%d wide, drawn"
	cutRandom = "%d wide, cut at random from parent 0"
	cutFirst  = "%d wide, cut from parent 0"
	cutAlone  = "%d wide, cut from parent 0, by weights alone"
	cutAll    = "%d wide, cut from all parents"
)

// labels are those of the rows of narrow networks of k parents.
func (n Narrow) labels(k int) []string {
	var out []string
	for _, label := range []string{drawn, cutRandom, cutFirst, cutAlone, cutAll} {
		out = append(out, fmt.Sprintf(label, n.Network.Dims().Width))
	}
	if k < 2 {
		return out[:4]
	}
	return out
}

// Drawn is the label of the network as it was drawn.
func (n Narrow) Drawn() string { return n.Of[0] }

// Random is the label of the control.
func (n Narrow) Random() string { return n.Of[1] }

// Cut is the label of what matching makes of the first parent.
func (n Narrow) Cut() string { return n.Of[2] }

// isAlone reports whether a label is that of what matching makes of the first parent
// without samples.
func (n Narrow) isAlone(label string) bool {
	return label == fmt.Sprintf(cutAlone, n.Network.Dims().Width)
}

// Trained are the labels of the rows from which training begins: all that are refitted, but
// the control, and the drawn one.
func (n Narrow) Trained() []string {
	untrained := func(label string) bool { return label == n.Random() || n.isAlone(label) }
	return slices.DeleteFunc(slices.Clone(n.Of), untrained)
}

// runNarrow adds the rows of narrow networks.
func (r *run) runNarrow(ctx context.Context, n Narrow) error {
	if n.Network == nil {
		return nil
	}
	parents, err := n.Trial.parents(r.Groups[0])
	if err != nil {
		return err
	}
	alone := n
	alone.Trial.Recipe.Refit, alone.Trial.Recipe.Samples = 0, 0
	for _, label := range n.Of {
		var err error
		switch {
		case label == n.Drawn():
			err = r.addNarrow(ctx, report.Row{Method: report.Drawn, Label: label}, n.Network)
		case label == n.Random():
			err = r.runCut(ctx, n, label, parents[:1], fuse.Random{Seed: r.Seed})
		case n.isAlone(label):
			err = r.runCut(ctx, alone, label, parents[:1], nil)
		case label == n.Cut():
			err = r.runCut(ctx, n, label, parents[:1], nil)
		default:
			err = r.runCut(ctx, n, label, parents, nil)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
	}
	return nil
}

// runCut carries wide models into the narrow network, whose own weight is 0, by matching
// where no other method is given, fits its layers to what they write, and adds the row.
func (r *run) runCut(ctx context.Context, n Narrow, label string, wide []*models.Model, method fuse.Method) error {
	t := n.Trial
	t.Label = label
	t.Recipe.Weights = []float64{0}
	for range wide {
		t.Recipe.Weights = append(t.Recipe.Weights, 1/float64(len(wide)))
	}
	t, err := t.Resolved()
	if err != nil {
		return err
	}
	a := Attempt{Device: r.device, Task: r.Task, Parents: append([]*models.Model{n.Network}, wide...), Trial: t,
		Method: method}
	a.Samples, a.Seed = r.samples(t.Recipe.Samples, 0)
	f, err := a.Fuse(ctx)
	if err != nil {
		return err
	}
	row := report.Row{Method: t.Recipe.Method, Label: label, Options: t.Recipe, Seconds: f.Seconds,
		Seen: t.seen(len(a.Samples), r.Task.Unit())}
	if method != nil {
		row.Method = report.Random
	}
	return r.addNarrow(ctx, row, f.Model)
}

// addNarrow scores a network and adds its row.
func (r *run) addNarrow(ctx context.Context, row report.Row, m *models.Model) error {
	s, err := r.Task.Score(ctx, r.device, m)
	if err != nil {
		return err
	}
	return r.add(Outcome{Row: row, Models: []*models.Model{m}, Scores: []gomlx.Score{s}})
}

// Narrowed returns the narrow networks of a comparison of some width. The parents are
// matched by their weights; the samples are for the refit.
func (c Comparison) Narrowed(width int) (Narrow, error) {
	n := Narrow{Trial: Trial{Untied: c.Choice.Untied, Recipe: recipe.Recipe{Method: recipe.Match, Features: "weights",
		Samples: c.Choice.Samples, Refit: Ridge}}}
	wide, err := n.Trial.parents(c.Parents[:1])
	if err != nil {
		return n, err
	}
	if n.Network, err = models.Narrow(wide[0], width, c.Seed); err != nil {
		return n, err
	}
	n.Of = n.labels(len(c.Parents))
	return n, nil
}

// Compress is the flag -compress of the programs: the hidden units of the networks that they
// make of the parents, 0 where they fuse.
type Compress int

// Flag adds the flag.
func (c *Compress) Flag(f *flag.FlagSet) {
	f.IntVar((*int)(c), "compress", 0, "make networks of this many hidden `units` of the parents, of which one is "+
		"enough, beside drawn ones on the same budget of -epochs and -lr")
}

// OpenParents opens the parents that the program needs at least.
func (c Compress) OpenParents(ctx context.Context, list string) ([]*models.Model, error) {
	if c > 0 {
		return OpenModels(ctx, list)
	}
	return OpenParents(ctx, list)
}

// NarrowRate is the peak learning rate of narrow networks, which start farther from
// where they go than fused ones of the parents' size.
const NarrowRate = 1e-3

// Compression returns the experiment of narrow networks made of the parents, distilled and
// finetuned on one budget, and the directories of the models that are saved.
func (c Comparison) Compression(width Compress, budget Tuning) (Experiment, map[string]string, error) {
	n, err := c.Narrowed(int(width))
	if err != nil {
		return Experiment{}, nil, err
	}
	e := Experiment{Task: c.Task, Groups: [][]*models.Model{c.Parents}, Seed: c.Seed, Quick: c.Quick, Narrow: n,
		Names: Names{Parents: parentNames(c.Parents), Ensemble: "ensemble of the parents"}, Unfinished: c.unfinished()}
	budget.Of = n.Trained()
	distil := budget
	distil.Suffix, distil.Teachers = SuffixDistilled, c.Parents
	e.Tune = []Tuning{distil, budget}
	return e, map[string]string{n.Cut(): "fused", n.Cut() + distil.Suffix: "distilled",
		n.Cut() + budget.Suffix: "finetuned"}, nil
}
