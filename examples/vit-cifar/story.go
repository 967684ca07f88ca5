package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gomlx/compute"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/vision"
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

// fusions lists what is tried: every method, transport with every solver that
// was asked for, on activations and on weights, learning without and with
// labels.
func (o options) fusions() ([]fusion, error) {
	var out []fusion
	add := func(label string, r recipe.Recipe) (err error) {
		r.Samples, r.Tokens = o.samples, o.tokens
		r, err = r.Resolve(recipe.Calibrated)
		out = append(out, fusion{label, r})
		return err
	}
	solvers := []string{o.solver}
	if o.solver == "both" {
		solvers = []string{"sinkhorn", "emd"}
	}
	transport := func(features, solver string) recipe.Recipe {
		return recipe.Recipe{Method: "flow", Features: features, Aligner: o.aligner, Solver: solver, Reg: o.reg, Residual: o.residual}
	}
	var errs []error
	if o.tries("flow") {
		fitted := transport("activations", solvers[0])
		fitted.Refit = ridge
		errs = append(errs, add(fmt.Sprintf("transport fusion, activations, %s, refit", solvers[0]), fitted))
	}
	for _, features := range []string{"activations", "weights"} {
		for _, solver := range solvers {
			if o.tries("flow") {
				errs = append(errs, add(fmt.Sprintf("transport fusion, %s, %s", features, solver), transport(features, solver)))
			}
		}
	}
	if o.tries("match") {
		errs = append(errs, add("matching, activations, refit", recipe.Recipe{Method: "match", Refit: ridge}))
	}
	for _, features := range []string{"activations", "weights"} {
		if o.tries("match") {
			errs = append(errs, add("matching, "+features, recipe.Recipe{Method: "match", Features: features}))
		}
	}
	for _, label := range []string{labelled, unlabelled} {
		if o.tries("learned") {
			errs = append(errs, add(label, recipe.Recipe{Method: "learned", Steps: o.learn, Batch: batchSize, Refit: ridge}))
		}
	}
	return out, errors.Join(errs...)
}

// ridge is that of refits; from a tenth to ten times as much does about as well
// on CIFAR-10.
const ridge = 0.01

// The rows of learned matching: on the training set with its labels, and on the
// calibration images without.
const (
	labelled   = "learned matching, labels, refit"
	unlabelled = "learned matching, no labels, refit"
)

func (o options) tries(method string) bool { return o.method == "all" || o.method == method }

// best returns, of each method, the fusion that is finetuned and drawn: the
// first. The last of them is saved.
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
	images  vision.Images
	parents []*models.Model // anchor first
	fusions []fusion
	backend compute.Backend
	runner  *mlx.Runner
	calib   models.Batch
	test    models.Batch
	quick   models.Batch
	report  cli.Report
	reports map[string]*fuse.Report // by row label
	fused   map[string]*models.Model
	ways    []way
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
	if s.parents, err = openParents(o, img.Name); err != nil {
		return err
	}
	if err := s.images.Normalise(s.parents); err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	if err := s.prepare(); err != nil {
		return err
	}
	backend, err := mlx.Open(ctx, func(line string) { cli.Notice("%s", line) })
	if err != nil {
		return err
	}
	defer backend.Finalize()
	s.backend, s.runner = backend, mlx.NewRunner(backend)
	defer s.runner.Close()
	s.report.Data, s.report.Backend = img.Label, backend.Name()
	cli.Notice("data: %s, %d test images; anchor and %d other model(s) of %d parameters", img.Label, s.images.Test.Len(), len(s.parents)-1, s.parents[0].Params.Size())
	err = s.chapters()
	if len(s.report.Rows) == 0 {
		return err
	}
	return errors.Join(err, s.publish())
}

// chapters goes through the job in order until one part fails.
func (s *story) chapters() error {
	for _, part := range []func() error{s.scoreParents, s.vanilla, s.transports, s.line, s.finetune} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the batches that models are calibrated and scored on.
func (s *story) prepare() (err error) {
	if s.calib, err = s.images.First(s.images.Train, s.samples); err != nil {
		return err
	}
	if s.test, err = s.images.First(s.images.Test, s.images.Test.Len()); err != nil {
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
	if err := s.add(row, s.fused[vanillaLabel]); err != nil {
		return err
	}
	// What a refit does without any alignment shows what alignment is worth.
	m, err := fuse.Refit{Ridge: ridge, Calibration: &mlx.Calibration{Runner: s.runner, Data: s.calib}}.Fit(s.ctx, s.fused[vanillaLabel], all...)
	if err != nil {
		return err
	}
	row = cli.Row{Method: "vanilla", Label: vanillaLabel + ", refit", Options: recipe.Recipe{Refit: ridge, Samples: s.samples}, Seconds: time.Since(started).Seconds()}
	return s.add(row, m)
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

// transport moves every other parent into the basis of the anchor, one by one
// since the plots show the first of them, and takes the mean.
func (s *story) transport(f fusion) error {
	o, err := s.fuseOptions(f)
	if err != nil {
		return err
	}
	started, anchor := time.Now(), s.parents[0]
	if o.Matching != nil {
		anchor = fuse.Canonical(anchor)
	}
	all, report := []models.Params{anchor.Params}, &fuse.Report{}
	for k, other := range s.parents[1:] {
		p, rep, err := fuse.Transport(s.ctx, other, anchor, o)
		if err != nil {
			return err
		}
		for _, n := range rep.Nodes {
			n.Source = k
			report.Nodes = append(report.Nodes, n)
		}
		all = append(all, p)
	}
	p, err := fuse.Average(all, nil)
	if err != nil {
		return err
	}
	m := anchor.With(p)
	if o.Ridge > 0 {
		if m, err = (fuse.Refit{Ridge: o.Ridge, Calibration: o.Calibration}).Fit(s.ctx, m, all...); err != nil {
			return err
		}
	}
	s.reports[f.label], s.fused[f.label] = report, m
	s.ways = append(s.ways, way{f.label, anchor, anchor.With(all[1])})
	return s.add(cli.Row{Method: f.recipe.Method, Label: f.label, Options: f.recipe, Seconds: time.Since(started).Seconds()}, m)
}

func (s *story) fuseOptions(f fusion) (*fuse.Options, error) {
	r := f.recipe
	o, err := r.Options()
	if err != nil {
		return nil, err
	}
	if o.Calibration, err = r.Calibration(s.ctx, s.runner, s.calib, s.parents...); err != nil {
		return nil, err
	}
	if r.Method == "learned" {
		bar := cli.NewProgress(f.label, r.Steps*(len(s.parents)-1), 0)
		o.Matching.Learner = &mlx.Learner{Backend: s.backend, Recipe: mlx.Recipe{Steps: r.Steps, LR: r.LR}, Seed: s.seed, Feed: s.lessons(f.label),
			Observe: func(_ int, loss float64) { bar.Step(fmt.Sprintf("loss %.3f", loss)) }}
	}
	return o, nil
}

// lessons are the batches of learned matching.
func (s *story) lessons(label string) func(step int) (models.Batch, error) {
	feed := s.images.Feed(batchSize, 2_000_003+s.seed)
	if label == labelled {
		return feed.Batch
	}
	feed.Set = s.images.Train.Head(s.samples)
	feed.Order.N, feed.Order.Batch = feed.Set.Len(), min(batchSize, feed.Set.Len())
	return func(step int) (models.Batch, error) {
		b, err := feed.Batch(step)
		delete(b, models.Labels)
		return b, err
	}
}
