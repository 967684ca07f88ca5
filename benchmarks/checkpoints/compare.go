package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// compare fuses parents in every way, scores what comes out on each file and writes a
// table.
func compare(ctx context.Context, d *gomlx.Device, o options, parents []*models.Model, w io.Writer) error {
	task := &files{calib: o.calib, eval: o.eval, scores: map[gomlx.Score][]gomlx.Score{}}
	if err := task.Accept(parents); err != nil {
		return err
	}
	experiment := lab.Experiment{Task: task, Groups: [][]*models.Model{parents}, Trials: o.trials(),
		Names: lab.Names{Parents: o.parents, Ensemble: "ensemble"}, Controls: true}
	if err := exactness(ctx, d, task.samples, parents); err != nil {
		return err
	}
	var lines []line
	_, err := lab.Run(ctx, d, experiment, func(out *lab.Outcome) error {
		var all gomlx.Score
		for _, s := range out.Scores {
			all = all.Add(s)
		}
		lines = append(lines, line{&out.Row, task.scores[all]})
		return nil
	})
	return errors.Join(err, task.table(lines).Markdown(w)) // whatever stops it, what was found is shown
}

// trials are the ways to fuse, and what training takes in place of that.
func (o options) trials() []lab.Trial {
	every := false
	of := func(label string, r recipe.Recipe) lab.Trial {
		r.Samples, r.Batch = o.samples, o.batch
		if r.Method != recipe.Distil {
			r.Tokens, r.Narrow = "all", &every
		}
		return lab.Trial{Label: label, Recipe: r}
	}
	matched := recipe.Recipe{Method: recipe.Match}
	all := []lab.Trial{
		of("vanilla", recipe.Recipe{Method: recipe.Vanilla}),
		of("vanilla, refit", recipe.Recipe{Method: recipe.Vanilla, Refit: lab.Ridge}),
		of("transport, activations", recipe.Recipe{Method: recipe.Flow}),
		of("transport, activations, refit", recipe.Recipe{Method: recipe.Flow, Refit: lab.Ridge}),
		of("matching, weights", recipe.Recipe{Method: recipe.Match, Features: "weights"}),
		of("matching, weights and activations", matched),
		of("matching, weights and activations, refit", recipe.Recipe{Method: recipe.Match, Refit: lab.Ridge}),
		of("learned matching, no labels", recipe.Recipe{Method: recipe.Learned, Inexact: true, Steps: o.updates}),
		of("distilled, from the anchor", recipe.Recipe{Method: recipe.Distil, Steps: o.updates}),
		of("distilled, from matching", recipe.Recipe{Method: recipe.Distil, Start: &matched, Steps: o.updates}),
	}
	return slices.DeleteFunc(all, func(t lab.Trial) bool { return !slices.Contains(o.methods, t.Recipe.Method) })
}

// exactness tells how far a matched model is from what it computed before.
func exactness(ctx context.Context, d *gomlx.Device, samples models.Batch, parents []*models.Model) error {
	aligned, _, err := fuse.Align(ctx, parents[0], parents[1:], fuse.Matching{}, nil)
	if err != nil {
		return err
	}
	matched, err := aligned.Line(1)
	if err != nil {
		return err
	}
	apart, largest, err := apart(ctx, d, samples, matched, parents[1])
	if err == nil {
		cli.Notice("the first OTHER once it is matched: outputs up to %.3g, largest difference from before %.1e",
			largest, apart)
	}
	return err
}

// apart returns the largest difference between the outputs of two models on tokens that
// are no padding, and the largest output of the second.
func apart(ctx context.Context, d *gomlx.Device, samples models.Batch, a, b *models.Model) (
	difference, largest float64, err error) {
	samples = samples.Slice(0, min(samples.Len(), scored))
	x, err := d.Logits(ctx, a, samples)
	if err != nil {
		return 0, 0, err
	}
	y, err := d.Logits(ctx, b, samples)
	if err != nil {
		return 0, 0, err
	}
	width := y.Shape[len(y.Shape)-1]
	mask, masked := samples["attention_mask"]
	for i, v := range y.Floats {
		if masked && len(y.Shape) == 3 && mask.Ints[i/width] == 0 {
			continue
		}
		largest = max(largest, math.Abs(float64(v)))
		if gap := math.Abs(float64(x.Floats[i]) - float64(v)); gap > difference || math.IsNaN(gap) {
			difference = gap
		}
	}
	return difference, largest, nil
}

// A line is a row of a report with its scores on each file.
type line struct {
	*report.Row
	scores []gomlx.Score
}

// table shows rows with their scores on each file.
func (f *files) table(lines []line) report.Table {
	columns := []report.Column[line]{
		{Head: "model", Cell: func(l line) string { return l.Name() }},
		{Head: "seen", Cell: func(l line) string { return l.Seen }},
	}
	for k, file := range f.eval {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		columns = append(columns,
			report.Column[line]{Head: name + ": accuracy", Cell: func(l line) string {
				return fmt.Sprintf("%.1f %%", 100*l.scores[k].Accuracy)
			}},
			report.Column[line]{Head: "loss, nats", Cell: func(l line) string { return fmt.Sprintf("%.3f", l.scores[k].Loss) }})
	}
	columns = append(columns, report.Column[line]{Head: "all: loss", Cell: func(l line) string {
		return fmt.Sprintf("%.3f", *l.Loss)
	}})
	return report.Tabulate(lines, columns)
}
