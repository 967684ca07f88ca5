package main

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/modeltest"
)

// undo plants an order of units into a copy of a model and shows what the mean of both
// computes, as they are and once the copy is matched.
func undo(ctx context.Context, d *gomlx.Device, o options, anchor *models.Model, w io.Writer) error {
	samples, err := anchor.ReadSamples(o.calib)
	if err != nil {
		return err
	}
	copied, err := modeltest.Relabelled(ctx, anchor, o.planted)
	if err != nil {
		return err
	}
	var rows []recovery
	for _, m := range []struct {
		name   string
		method fuse.Method
	}{{"vanilla", fuse.Vanilla{}}, {"matching, weights", fuse.Matching{}}} {
		aligned, _, err := fuse.Align(ctx, anchor, []*models.Model{copied}, m.method, nil)
		if err != nil {
			return err
		}
		row := recovery{name: m.name}
		row.weights, row.weight = gap(aligned.Anchor.Params, aligned.Others[0])
		mean, err := aligned.Mean(nil)
		if err != nil {
			return err
		}
		if row.outputs, row.output, err = apart(ctx, d, samples, mean, anchor); err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return report.Tabulate(rows, columns()).Markdown(w)
}

// A recovery is how far a copy and the mean with it are from the anchor, beside the
// largest values of the anchor.
type recovery struct {
	name            string
	weights, weight float64
	outputs, output float64
}

func columns() []report.Column[recovery] {
	value := func(format string, of func(recovery) float64) func(recovery) string {
		return func(r recovery) string { return fmt.Sprintf(format, of(r)) }
	}
	return []report.Column[recovery]{
		{Head: "method", Cell: func(r recovery) string { return r.name }},
		{Head: "largest weight", Cell: value("%.3g", func(r recovery) float64 { return r.weight })},
		{Head: "largest difference of the copy", Cell: value("%.1e", func(r recovery) float64 { return r.weights })},
		{Head: "largest output", Cell: value("%.3g", func(r recovery) float64 { return r.output })},
		{Head: "largest difference of the mean", Cell: value("%.1e", func(r recovery) float64 { return r.outputs })},
	}
}

// gap returns the largest difference between parameters, and the largest of the first.
func gap(a, b models.Params) (difference, largest float64) {
	for name, t := range a {
		for i, v := range t.Data {
			largest = max(largest, math.Abs(float64(v)))
			difference = max(difference, math.Abs(float64(v)-float64(b[name].Data[i])))
		}
	}
	return difference, largest
}
