package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
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

// A fusion is a recipe that the story tries.
type fusion struct {
	label  string
	recipe recipe.Recipe
}

// fusions lists what is tried: every method with every solver that was asked
// for, on activations and on weights.
func (o options) fusions() ([]fusion, error) {
	methods, solvers := []string{o.method}, []string{o.solver}
	if o.method == "all" {
		methods = []string{"flow", "match"}
	}
	if o.solver == "both" {
		solvers = []string{"sinkhorn", "emd"}
	}
	var out []fusion
	for _, method := range methods {
		for _, features := range []string{"activations", "weights"} {
			for _, solver := range solvers {
				f := fusion{fmt.Sprintf("matching, %s", features), recipe.Recipe{Method: method, Features: features, Samples: o.samples, Tokens: o.tokens}}
				if method != "match" {
					f.label = fmt.Sprintf("transport fusion, %s, %s", features, solver)
					f.recipe.Aligner, f.recipe.Solver, f.recipe.Reg, f.recipe.Residual = o.aligner, solver, o.reg, o.residual
				}
				var err error
				if f.recipe, err = f.recipe.Resolve(recipe.Calibrated); err != nil {
					return nil, err
				}
				if !slices.ContainsFunc(out, func(g fusion) bool { return g.label == f.label }) {
					out = append(out, f)
				}
			}
		}
	}
	return out, nil
}

// best returns, of each method, the fusion that is finetuned and drawn: the
// first, which is on activations. The last of them is saved.
func (s *story) best() []fusion {
	var out []fusion
	for _, f := range s.fusions {
		if len(out) == 0 || out[len(out)-1].recipe.Method != f.recipe.Method {
			out = append(out, f)
		}
	}
	return out
}

// story is the main job: its parts and what was found so far.
type story struct {
	options
	ctx     context.Context
	images  images
	parents []*models.Model // anchor first
	fusions []fusion
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
	if s.fusions, err = o.fusions(); err != nil {
		return err
	}
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
	for _, m := range s.parents {
		if !equal(m, s.parents[0]) {
			return nil // there is no mean of unequal widths
		}
	}
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

// transports makes every fusion and saves the best.
func (s *story) transports() error {
	for _, f := range s.fusions {
		if err := s.transport(f); err != nil {
			return err
		}
	}
	main := s.main().label
	s.report.AddNodes(s.reports[main])
	return s.fused[main].Save(filepath.Join(s.out, "fused"))
}

// main is the fusion that is saved.
func (s *story) main() fusion { return s.best()[len(s.best())-1] }

func (s *story) transport(f fusion) error {
	o, err := s.fuseOptions(f.recipe)
	if err != nil {
		return err
	}
	started := time.Now()
	m, rep, err := fuse.Into(s.ctx, s.parents[0], s.parents[1:], o)
	if err != nil {
		return err
	}
	s.reports[f.label], s.fused[f.label] = rep, m
	return s.add(cli.Row{Method: f.recipe.Method, Label: f.label, Options: f.recipe, Seconds: time.Since(started).Seconds()}, m)
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
