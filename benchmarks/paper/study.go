package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// rows scores the parents and every trial, then finetunes.
func (s *study) rows(ctx context.Context) error {
	var starts []start
	for k, m := range s.groups[0] {
		x := row{Row: report.Row{Method: "parent", Label: fmt.Sprintf("parent %d, %d wide", k, m.Dims().Width)}}
		scores, err := s.add(ctx, x, func(g []*models.Model) []*models.Model { return g[k : k+1] })
		if err != nil {
			return err
		}
		s.ends = append(s.ends, scores)
		if k < s.table.tuned {
			starts = append(starts, start{x.Row, m})
		}
	}
	x := row{Row: report.Row{Method: "ensemble", Label: "ensemble"}}
	if _, err := s.add(ctx, x, func(g []*models.Model) []*models.Model { return g }); err != nil {
		return err
	}
	for _, t := range s.table.trials {
		st, err := s.trial(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Label, err)
		}
		if s.table.tuned > 0 {
			starts = append(starts, st)
		}
	}
	return s.finetune(ctx, starts)
}

// add scores what pick takes from each group of parents.
func (s *study) add(ctx context.Context, x row, pick func([]*models.Model) []*models.Model) ([]gomlx.Score, error) {
	for _, g := range s.groups {
		score, err := s.score(ctx, pick(g)...)
		if err != nil {
			return nil, err
		}
		x.scores = append(x.scores, score)
	}
	s.result.add(x)
	return x.scores, nil
}

// resolved is the recipe with all that the paper says where the trial is silent.
func (t trial) resolved() (recipe.Recipe, error) { return t.Recipe.Resolve(recipe.Calibrated) }

// trial fuses and scores: every group of parents, or, where there is one and the
// recipe looks at calibration samples, once for each draw of them. The first
// fusion is what is finetuned.
func (s *study) trial(ctx context.Context, t trial) (first start, err error) {
	rec, err := t.resolved()
	if err != nil {
		return start{}, err
	}
	draws := s.scale.Draws
	if len(s.groups) > 1 || rec.Refit == 0 && (rec.Method == "vanilla" || rec.Features == "weights") {
		draws = 1
	}
	x := row{Row: report.Row{Method: rec.Method, Label: t.Label, Options: rec}}
	for run := range len(s.groups) * draws {
		group := run / draws
		started := time.Now()
		f, err := s.fuse(ctx, way{rec, t.Labels, run}, s.groups[group])
		if err != nil {
			return start{}, err
		}
		x.Row.Seconds += time.Since(started).Seconds() / float64(len(s.groups)*draws)
		if s.table.profiled {
			if x.Stages != nil {
				f.stages.Compile += x.Stages.Compile
			}
			x.Row.Seconds, x.Stages = f.stages.Seconds, &f.stages
		}
		if err := s.measure(ctx, &x, f, group); err != nil {
			return start{}, err
		}
		if run == 0 {
			first.model = f.model
		}
	}
	s.result.add(x)
	first.row = x.Row
	return first, nil
}

// measure scores a fusion of a group, and what lies on its line where the table
// asks for that, and adds both to a row.
func (s *study) measure(ctx context.Context, x *row, f fused, group int) error {
	score, err := s.score(ctx, f.model)
	if err != nil {
		return err
	}
	x.scores = append(x.scores, score)
	if s.table.line == 0 || f.refitted || len(x.Lines) > group {
		return nil // one line for each group, the first draw's; a refitted model is on none
	}
	points, err := s.line(ctx, f.aligned)
	if err != nil {
		return err
	}
	x.Lines = append(x.Lines, points)
	from, to := report.Point{Loss: s.ends[0][group].Loss}, report.Point{Loss: s.ends[1][group].Loss}
	x.barriers = append(x.barriers, report.BarrierOf(points, from, to).Loss)
	return nil
}

// line scores the models on the way between two.
func (s *study) line(ctx context.Context, aligned *fuse.Aligned) (out []report.Point, err error) {
	for k := range s.table.line {
		x := float64(k) / float64(s.table.line-1)
		m, err := aligned.Line(x)
		if err != nil {
			return nil, err
		}
		score, err := s.score(ctx, m)
		if err != nil {
			return nil, err
		}
		out = append(out, report.Point{X: x, Accuracy: score.Accuracy, Loss: score.Loss})
	}
	return out, nil
}

// A way is how to fuse on one draw of calibration samples.
type way struct {
	recipe recipe.Recipe
	labels bool
	draw   int
}

// fused is what came of it.
type fused struct {
	model    *models.Model
	aligned  *fuse.Aligned
	refitted bool
	stages   stages
}

// fuse makes one fusion. Where stages are timed it is made twice, and the first
// tells what compilation takes.
func (s *study) fuse(ctx context.Context, w way, parents []*models.Model) (fused, error) {
	if !s.table.profiled {
		return s.fuseOnce(ctx, w, parents)
	}
	cold, err := s.fuseOnce(ctx, w, parents)
	if err != nil {
		return fused{}, err
	}
	warm, err := s.fuseOnce(ctx, w, parents)
	warm.stages.Compile = max(cold.stages.Seconds-warm.stages.Seconds, 0)
	return warm, err
}

func (s *study) fuseOnce(ctx context.Context, w way, parents []*models.Model) (out fused, err error) {
	method, set, err := s.method(ctx, w, parents)
	if err != nil {
		return out, err
	}
	var spent meter.Stages
	if s.table.profiled {
		method, set = spent.Watch(method, *set)
		meter.Settle()
	}
	m := meter.Start()
	if out.aligned, _, err = fuse.Align(ctx, parents[0], parents[1:], method, set); err != nil {
		return out, err
	}
	out.refitted = set.Refit != nil
	if out.model, err = out.aligned.Mean(set.Weights); err == nil && out.refitted {
		out.model, err = set.Refit.Fit(ctx, out.model, out.aligned, set)
	}
	out.stages = newStages(m.Read(), spent)
	return out, err
}

// draw returns training samples, drawn at random.
func (s *study) draw(n, seed int) []int {
	order := rand.New(rand.NewPCG(uint64(seed), 5)).Perm(s.field.size())
	return order[:min(n, len(order))]
}

// method is how a fusion is made.
func (s *study) method(ctx context.Context, w way, parents []*models.Model) (fuse.Method, *fuse.Settings, error) {
	rec := w.recipe
	idx := s.draw(rec.Samples, w.draw)
	var learner fuse.Learner
	if rec.Method == "learned" {
		learner = s.learner(w, idx)
	}
	method, set, err := rec.Build(learner, s.device)
	if err != nil {
		return nil, nil, err
	}
	calib, err := s.field.pick(idx)
	if err != nil {
		return nil, nil, err
	}
	set.Calibration, err = rec.Calibration(ctx, s.device, calib, parents...)
	return method, set, err
}

// learner refines matching on the calibration samples idx without labels, or on
// all training samples with them.
func (s *study) learner(w way, idx []int) *gomlx.Learner {
	if w.labels {
		idx = nil
	}
	f := s.field.feed(idx, w.recipe.Batch, uint64(2_000_003+w.draw))
	bar := cli.NewProgress("learned matching", w.recipe.Steps, 0)
	learner := s.device.Learner(func(step int) (models.Batch, error) {
		b, err := f.batch(step)
		if !w.labels {
			delete(b, models.Labels)
		}
		return b, err
	})
	learner.Seed, learner.Config = uint64(w.draw), gomlx.TrainConfig{Steps: w.recipe.Steps, LR: w.recipe.LR}
	learner.Observe = func(p models.Progress) { bar.Step(fmt.Sprintf("loss %.3f", p.Loss)) }
	return learner
}
