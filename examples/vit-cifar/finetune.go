package main

import (
	"github.com/gomlx/compute"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"

	"path/filepath"
	"time"
)

// A point of a curve: x is a share of the line or a step, y an accuracy in %.
type point struct{ X, Y float64 }

// linePoints is the number of points along the line between two models.
const linePoints = 11

// line walks from the anchor to the first other model, as it is and
// transported, and scores the models on the way.
func (s *story) line() error {
	anchor := s.parents[0]
	r := s.flow("activations", s.mainSolver())
	if r.err != nil {
		return r.err
	}
	o, err := s.fuseOptions(r.Recipe)
	if err != nil {
		return err
	}
	aligned, _, err := fuse.Transport(s.ctx, s.parents[1], anchor, o)
	if err != nil {
		return err
	}
	ends := map[string]models.Params{lineAligned: aligned}
	if s.parents[1].Config.Hidden == anchor.Config.Hidden && s.parents[1].Config.MLP == anchor.Config.MLP {
		ends[linePlain] = s.parents[1].Params
	}
	bar := cli.NewProgress("line between the models", len(ends)*linePoints, 0)
	for name, end := range ends {
		for k := range linePoints {
			x := float64(k) / (linePoints - 1)
			p, err := fuse.Average([]models.Params{anchor.Params, end}, []float64{1 - x, x})
			if err != nil {
				return err
			}
			score, err := s.runner.Evaluate(s.ctx, s.quick, scoreBatch, anchor.With(p))
			if err != nil {
				return err
			}
			s.curves[name] = append(s.curves[name], point{x, 100 * score.Accuracy})
			bar.Step(name)
		}
	}
	bar.Done()
	return nil
}

const (
	lineAligned = "to the transported model"
	linePlain   = "to the model as it is"
)

func (s *story) mainSolver() string {
	if s.solver == "both" {
		return "sinkhorn"
	}
	return s.solver
}

// finetune trains the fused models and the parents on equal budgets, the same
// batches in the same order.
func (s *story) finetune(backend compute.Backend) error {
	feed := s.images.feeder(1_000_003 + s.seed)
	steps := max(int(s.epochs*float64(feed.PerEpoch())), 1)
	type start struct {
		row   cli.Row
		model *models.Model
	}
	starts := []start{
		{cli.Row{Method: "flow", Label: s.mainLabel() + ", finetuned", Options: s.flow("activations", s.mainSolver()).Recipe}, s.fused[s.mainLabel()]},
		{cli.Row{Method: "vanilla", Label: vanillaLabel + ", finetuned"}, s.fused[vanillaLabel]}}
	for k, m := range s.parents {
		if m.Config.Hidden == s.parents[0].Config.Hidden && m.Config.MLP == s.parents[0].Config.MLP {
			starts = append(starts, start{cli.Row{Method: "parent", Label: parentLabel(k) + ", finetuned"}, m})
		}
	}
	t, err := mlx.NewTrainer(backend, s.parents[0], mlx.Recipe{Steps: steps, LR: s.lr, Warmup: steps / 10, WeightDecay: 0.05, Clip: 1})
	if err != nil {
		return err
	}
	defer t.Close()
	for i, st := range starts {
		started := time.Now()
		if err := t.Reset(st.model); err != nil {
			return err
		}
		r := training{trainer: t, feed: feed, steps: steps, every: max(steps/5, 1)}
		r.look = func(step int, m *models.Model) error { return s.watch(st.row.Label, step, m) }
		if err := s.watch(st.row.Label, 0, st.model); err != nil {
			return err
		}
		m, err := r.run(s.ctx, "finetuning "+st.row.Label)
		if err != nil {
			return err
		}
		st.row.Finetuned, st.row.Seconds = steps, time.Since(started).Seconds()
		if err := s.add(st.row, m); err != nil {
			return err
		}
		if i == 0 {
			if err := m.Save(filepath.Join(s.out, "finetuned")); err != nil {
				return err
			}
		}
	}
	return nil
}

// watch adds a point to a finetuning curve.
func (s *story) watch(label string, step int, m *models.Model) error {
	score, err := s.runner.Evaluate(s.ctx, s.quick, scoreBatch, m)
	if err == nil {
		s.curves[label] = append(s.curves[label], point{float64(step), 100 * score.Accuracy})
	}
	return err
}
