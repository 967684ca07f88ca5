package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"
)

const (
	scoreBatch = 500  // images scored at a time
	quickTest  = 2000 // test images for the points of a plot
)

// flow is the recipe of a transport fusion with the flags applied.
func (o options) flow(features, solver string) checkedRecipe {
	r := recipe.Recipe{Method: "flow", Features: features, Aligner: o.aligner, Solver: solver, Reg: o.reg, Residual: o.residual, Tokens: o.tokens, Samples: o.samples}
	r, err := r.Resolve(recipe.Calibrated)
	return checkedRecipe{r, err}
}

// checkedRecipe is a recipe and what is wrong with it.
type checkedRecipe struct {
	recipe.Recipe
	err error
}

func (c checkedRecipe) check() error { return c.err }

// story is the main job: its parts and what was found so far.
type story struct {
	options
	ctx     context.Context
	images  images
	parents []*models.Model // anchor first
	runner  *mlx.Runner
	calib   models.Batch
	test    models.Batch
	quick   models.Batch
	report  cli.Report
	reports map[string]*fuse.Report // by row label
	fused   map[string]*models.Model
	curves  map[string][]point
}

// tell runs the main job. Whatever stops it, what was found is reported.
func tell(ctx context.Context, o options) error {
	if err := cli.Writable(o.out); err != nil {
		return fmt.Errorf("vit-cifar: -out: %w", err)
	}
	img, err := openImages(ctx, o)
	if err != nil {
		return err
	}
	s := &story{options: o, ctx: ctx, images: img, reports: map[string]*fuse.Report{}, fused: map[string]*models.Model{}, curves: map[string][]point{}}
	if s.parents, err = openParents(o, img.name); err != nil {
		return err
	}
	if err := s.images.normalise(s.parents); err != nil {
		return err
	}
	if err := s.prepare(); err != nil {
		return err
	}
	backend, err := mlx.Open(ctx, func(line string) { cli.Notice("%s", line) })
	if err != nil {
		return err
	}
	defer backend.Finalize()
	s.runner = mlx.NewRunner(backend)
	defer s.runner.Close()
	s.report.Data, s.report.Backend = img.label, backend.Name()
	cli.Notice("data: %s, %d test images; anchor and %d other model(s) of %d parameters", img.label, s.images.test.Len(), len(s.parents)-1, s.parents[0].Params.Size())
	err = s.chapters(func() error { return s.finetune(backend) })
	if len(s.report.Rows) == 0 {
		return err
	}
	return errors.Join(err, s.publish())
}

// chapters goes through the job in order until one part fails.
func (s *story) chapters(finetune func() error) error {
	for _, part := range []func() error{s.scoreParents, s.vanilla, s.transports, s.line, finetune} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the batches that models are calibrated and scored on.
func (s *story) prepare() (err error) {
	if s.calib, err = first(s.images.train, s.samples, s.images.norm); err != nil {
		return err
	}
	if s.test, err = first(s.images.test, s.images.test.Len(), s.images.norm); err != nil {
		return err
	}
	s.quick = s.test.Slice(0, min(quickTest, s.test.Len()))
	return nil
}

// add scores a model, or an ensemble, and adds its row.
func (s *story) add(row cli.Row, ms ...*models.Model) error {
	if row.Options == nil {
		row.Options = struct{}{}
	}
	score, err := s.runner.Evaluate(s.ctx, s.test, scoreBatch, ms...)
	if err != nil {
		return err
	}
	row.Score(score)
	s.report.Rows = append(s.report.Rows, row)
	cli.Notice("%-34s accuracy %6.2f %%  loss %.3f", row.Label, 100*score.Accuracy, score.Loss)
	return nil
}

func (s *story) scoreParents() error {
	for k, m := range s.parents {
		if err := s.add(cli.Row{Method: "parent", Label: parentLabel(k)}, m); err != nil {
			return err
		}
	}
	return s.add(cli.Row{Method: "ensemble", Label: "ensemble of the parents"}, s.parents...)
}

func parentLabel(k int) string {
	if k == 0 {
		return "parent 0 (anchor)"
	}
	return fmt.Sprintf("parent %d", k)
}

// vanillaLabel is the row of plain averaging.
const vanillaLabel = "vanilla fusion"

func (s *story) vanilla() error {
	started := time.Now()
	var all []models.Params
	for _, m := range s.parents {
		all = append(all, m.Params)
	}
	p, err := fuse.Average(all, nil)
	if err != nil {
		return err
	}
	s.fused[vanillaLabel] = s.parents[0].With(p)
	row := cli.Row{Method: "vanilla", Label: vanillaLabel, Seconds: time.Since(started).Seconds()}
	return s.add(row, s.fused[vanillaLabel])
}

// transports fuses with every solver that was asked for, on activations and on
// weights.
func (s *story) transports() error {
	solvers := []string{s.solver}
	if s.solver == "both" {
		solvers = []string{"sinkhorn", "emd"}
	}
	for _, features := range []string{"activations", "weights"} {
		for _, solver := range solvers {
			r := s.flow(features, solver)
			if r.err != nil {
				return r.err
			}
			if err := s.transport(r.Recipe); err != nil {
				return err
			}
		}
	}
	main := s.mainLabel()
	s.report.AddNodes(s.reports[main])
	return s.fused[main].Save(filepath.Join(s.out, "fused"))
}

// mainLabel is the row that is finetuned and saved: transport on activations.
func (s *story) mainLabel() string {
	if s.solver == "both" {
		return flowLabel("activations", "sinkhorn")
	}
	return flowLabel("activations", s.solver)
}

func flowLabel(features, solver string) string {
	return fmt.Sprintf("transport fusion, %s, %s", features, solver)
}

func (s *story) transport(r recipe.Recipe) error {
	o, err := s.fuseOptions(r)
	if err != nil {
		return err
	}
	started := time.Now()
	m, rep, err := fuse.Into(s.ctx, s.parents[0], s.parents[1:], o)
	if err != nil {
		return err
	}
	label := flowLabel(r.Features, r.Solver)
	s.reports[label], s.fused[label] = rep, m
	return s.add(cli.Row{Method: "flow", Label: label, Options: r, Seconds: time.Since(started).Seconds()}, m)
}

func (s *story) fuseOptions(r recipe.Recipe) (*fuse.Options, error) {
	o, err := r.Options()
	if err != nil {
		return nil, err
	}
	tokens, err := r.Keep()
	if err != nil {
		return nil, err
	}
	o.Calibration = &mlx.Calibration{Runner: s.runner, Data: s.calib, Tokens: tokens, Narrow: *r.Narrow}
	return o, nil
}
