package lab

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// NarrowNetwork draws a network like another one but for its width: MLPs, and heads
// where they have a width of their own, shrink with the residual stream.
func NarrowNetwork(wide *models.Model, width int, seed uint64) (*models.Model, error) {
	full := wide.Dims().Width
	if width < 1 || width >= full {
		return nil, fmt.Errorf("a width of %d units, want 1 to %d: the parents have %d", width, full-1, full)
	}
	text, err := json.Marshal(wide.Config)
	if err != nil {
		return nil, err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, err
	}
	for _, key := range []string{"hidden_size", "intermediate_size", "head_dim"} {
		var n int
		if json.Unmarshal(keys[key], &n) == nil && n > 0 {
			keys[key] = json.RawMessage(fmt.Sprint(n * width / full))
		}
	}
	if text, err = json.Marshal(keys); err != nil {
		return nil, err
	}
	config, err := wide.Arch.Parse(text)
	if err != nil {
		return nil, err
	}
	m, err := models.Fresh(wide.Arch, config, seed, initialStd)
	if err != nil {
		return nil, err
	}
	m.Files = wide.Files
	return m, nil
}

// Narrow asks an experiment for narrow networks: one that is drawn, one into which the
// first parent is matched, nothing of the drawn one left, and one from all parents.
type Narrow struct {
	Network *models.Model // as it was drawn; nil for none
	Of      []string      // labels of the rows, in this order
	Trial   Trial         // how the parents are matched
}

// The labels of the rows of narrow networks.
const (
	drawn    = "%d wide, drawn"
	cutFirst = "%d wide, cut from parent 0"
	cutAll   = "%d wide, cut from all parents"
)

// labels are those of the rows of narrow networks of k parents.
func (n Narrow) labels(k int) []string {
	var out []string
	for _, label := range []string{drawn, cutFirst, cutAll} {
		out = append(out, fmt.Sprintf(label, n.Network.Dims().Width))
	}
	if k < 2 {
		return out[:2]
	}
	return out
}

// runNarrow adds the rows of narrow networks.
func (r *run) runNarrow(ctx context.Context, n Narrow) error {
	if n.Network == nil {
		return nil
	}
	parents := r.Groups[0]
	for k, label := range n.Of {
		if k == 0 {
			s, err := r.Task.Score(ctx, r.device, n.Network)
			if err != nil {
				return err
			}
			o := Outcome{Row: report.Row{Method: report.Drawn, Label: label}, Models: []*models.Model{n.Network},
				Scores: []gomlx.Score{s}}
			if err := r.add(o); err != nil {
				return err
			}
			continue
		}
		from := parents[:1]
		if k == 2 {
			from = parents
		}
		if err := r.cut(ctx, n, label, from); err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
	}
	return nil
}

// cut matches wide models into the narrow network, whose own weight is 0, and adds the
// row of their mean.
func (r *run) cut(ctx context.Context, n Narrow, label string, wide []*models.Model) error {
	t := n.Trial
	t.Label = label
	if len(wide) > 1 { // one alone writes what it writes: there is nothing to refit
		t.Recipe.Refit = Ridge
	}
	t.Recipe.Weights = []float64{0}
	for range wide {
		t.Recipe.Weights = append(t.Recipe.Weights, 1/float64(len(wide)))
	}
	t, err := t.Resolved()
	if err != nil {
		return err
	}
	a := Attempt{Device: r.device, Task: r.Task, Parents: append([]*models.Model{n.Network}, wide...), Trial: t}
	a.Samples, a.Seed = r.samples(t.Recipe.Samples, 0)
	f, err := a.Fuse(ctx)
	if err != nil {
		return err
	}
	s, err := r.Task.Score(ctx, r.device, f.Model)
	if err != nil {
		return err
	}
	return r.add(Outcome{Row: report.Row{Method: t.Recipe.Method, Label: label, Options: t.Recipe, Seconds: f.Seconds,
		Seen: t.seen(len(a.Samples), r.Task.Unit())}, Models: []*models.Model{f.Model}, Scores: []gomlx.Score{s}})
}

// Narrowed returns the narrow networks of a comparison of some width.
func (c Comparison) Narrowed(width int) (Narrow, error) {
	m, err := NarrowNetwork(c.Parents[0], width, c.Seed)
	if err != nil {
		return Narrow{}, err
	}
	n := Narrow{Network: m, Trial: Trial{Recipe: recipe.Recipe{Method: recipe.Match, Samples: c.Choice.Samples,
		Tokens: c.Choice.Tokens}}}
	n.Of = n.labels(len(c.Parents))
	return n, nil
}

// Compression returns the experiment of narrow networks made of the parents, without
// tunings.
func (c Comparison) Compression(width int) (Experiment, error) {
	n, err := c.Narrowed(width)
	return Experiment{Task: c.Task, Groups: [][]*models.Model{c.Parents}, Seed: c.Seed, Quick: c.Quick, Narrow: n,
		Names: Names{Parents: parentNames(c.Parents), Ensemble: "ensemble of the parents"}}, err
}
