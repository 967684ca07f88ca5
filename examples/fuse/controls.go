package main

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

// into fuses and writes the fused model. Where controls were asked for it scores them before
// the fused model, which takes all models into memory.
func (j *job) into(ctx context.Context, m fuse.Method, s *fuse.Settings) (*models.Model, *fuse.Report, error) {
	if !j.controls {
		s.Directory = &fuse.Directory{Path: j.out, ShardSize: bytesOf(j.shardSize)}
		fused, rep, err := fuse.Into(ctx, j.models[0], j.models[1:], m, s)
		j.tellChosen(rep)
		return fused, rep, err
	}
	f, err := lab.FuseAligned(ctx, j.models, m, s)
	if err != nil {
		return nil, nil, err
	}
	j.tellChosen(f.Report)
	if err := j.scoreShrunk(ctx, s.Weights); err != nil {
		return nil, nil, err
	}
	if err := j.scoreUniform(ctx, f); err != nil {
		return nil, nil, err
	}
	if err := j.scoreHead(ctx); err != nil {
		return nil, nil, err
	}
	if err := j.scoreDistilled(ctx); err != nil {
		return nil, nil, err
	}
	return f.Model, f.Report, f.Model.SaveShards(j.out, bytesOf(j.shardSize))
}

// tellChosen says which method was found the best where the recipe leaves that open. From
// then on the recipe is that of this method.
func (j *job) tellChosen(rep *fuse.Report) {
	if j.recipe.Method == recipe.Best && rep != nil {
		j.recipe = j.recipe.Chosen(rep.Method)
		cli.Notice("method best: it is %s", j.recipe.Method)
	}
}

// scoreShrunk adds the row of the anchor, shrunk to its share of the fused model.
func (j *job) scoreShrunk(ctx context.Context, weights []float64) error {
	share := 1 / float64(len(j.models))
	if weights != nil {
		share = weights[0]
	}
	m, err := lab.Shrunk(j.models[0], share)
	if err != nil {
		return err
	}
	return j.score(ctx, report.Row{Method: report.Shrunk, Label: fmt.Sprintf("anchor shrunk, × %.2g", share),
		Options: map[string]float64{"share": share}}, m)
}

// scoreUniform adds the row of the point of the line that is as far from the anchor as a
// fused model that was refitted or trained.
func (j *job) scoreUniform(ctx context.Context, f *lab.Fusion) error {
	a := j.recipe.Alignment()
	if a == nil || a.Method == recipe.Concatenate || a.Refit == 0 && !j.recipe.Distils() {
		return nil // it lies on the line, or there is none
	}
	m, weights, err := lab.UniformShare(f.Aligned, f.Model)
	if err != nil || m == nil {
		return err
	}
	options := *a
	options.Refit, options.Weights = 0, weights
	return j.score(ctx, report.Row{Method: options.Method, Label: "uniform share as far from the anchor",
		Options: options}, m)
}

// scoreDistilled adds the row of the anchor, distilled on the calibration samples, unless
// that is what is made.
func (j *job) scoreDistilled(ctx context.Context) error {
	if j.calib == nil || j.recipe.Distils() && j.recipe.Alignment() == nil {
		return nil
	}
	control := recipe.Recipe{Method: recipe.Distil, Samples: j.recipe.Samples, MaxLoss: j.recipe.MaxLoss,
		Weights: j.recipe.Weights}
	if j.recipe.Distils() { // the same budget
		control.Steps, control.Batch, control.LR, control.HeldOut = j.recipe.Steps, j.recipe.Batch, j.recipe.LR,
			j.recipe.HeldOut
	}
	return j.scoreBeside(ctx, lab.DistilledAnchor, control)
}

// scoreHead adds the row of the anchor with its output layer fitted to what all models
// answer, unless it has none of its own or that is what is made.
func (j *job) scoreHead(ctx context.Context) error {
	if j.calib == nil || j.models[0].Graph.Head() == nil || j.recipe.Method == recipe.Head {
		return nil
	}
	for _, m := range j.models[1:] {
		if !reflect.DeepEqual(m.Shapes(), j.models[0].Shapes()) {
			return nil // the head is fitted among models of one size
		}
	}
	return j.scoreBeside(ctx, lab.HeadAnchor, recipe.Recipe{Method: recipe.Head, Samples: j.recipe.Samples,
		MaxLoss: j.recipe.MaxLoss, Weights: j.recipe.Weights})
}

// scoreBeside adds the row of what another recipe makes of the same models and samples.
func (j *job) scoreBeside(ctx context.Context, label string, by recipe.Recipe) error {
	by, err := by.Resolve(recipe.Calibrated)
	if err != nil {
		return err
	}
	started := time.Now()
	beside := job{recipe: by, models: j.models, calib: j.calib, device: j.device}
	method, settings, _, err := beside.method(ctx)
	if err != nil {
		return err
	}
	m, _, err := fuse.Into(ctx, j.models[0], j.models[1:], method, settings)
	if err != nil {
		return err
	}
	row := report.Row{Method: by.Method, Label: label, Options: by, Seconds: time.Since(started).Seconds()}
	return j.score(ctx, row, m)
}
