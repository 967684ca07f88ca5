package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// compare fuses parents in every way, scores what comes out on each file and writes a
// table.
func compare(ctx context.Context, d *gomlx.Device, o options, parents []*models.Model, w io.Writer) error {
	task := &files{calib: o.calib, eval: o.eval}
	if err := task.Accept(parents); err != nil {
		return err
	}
	experiment, err := lab.Comparison{Task: task, Parents: parents, Choice: o.choice}.Experiment()
	if err != nil {
		return err
	}
	experiment.Line, experiment.Maps = 0, 0
	if err := exactness(ctx, d, task.samples, parents); err != nil {
		return err
	}
	found, err := lab.Run(ctx, d, experiment, func(*lab.Outcome) error { return nil })
	return errors.Join(err, task.table(found.Rows).Markdown(w))
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
		cli.Notice("the first OTHER once it is matched: outputs up to %.3g, largest difference from before %.1e", largest, apart)
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
	report.Row
	scores []gomlx.Score
}

// table shows the rows of a report beside the scores on each file.
func (f *files) table(rows []report.Row) report.Table {
	lines := make([]line, len(rows))
	for i, row := range rows {
		lines[i] = line{row, f.scores[i]}
	}
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
