package main

import (
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"

	"path/filepath"
	"slices"
	"time"
)

// A point of a curve: x is a share of the line or a step; the accuracy is 0 to
// 1, the loss in nats.
type point struct{ X, Accuracy, Loss float64 }

// asItIs is the way between models that nothing moves.
const asItIs = "as it is"

// linePoints is the number of points along the line between two models.
const linePoints = 11

// A way is a straight line between two models.
type way struct {
	label    string
	from, to *models.Model
}

// equal reports whether two models have the same widths.
func equal(a, b *models.Model) bool {
	return a.Config.Hidden == b.Config.Hidden && a.Config.MLP == b.Config.MLP
}

// line scores the models on the way from the anchor to the first other model:
// as it is, and as the best fusion of each method moves it.
func (s *story) line() error {
	var ways []way
	if anchor, other := s.parents[0], s.parents[1]; equal(anchor, other) {
		ways = append(ways, way{asItIs, anchor, other})
	}
	for _, f := range s.best() {
		i := slices.IndexFunc(s.ways, func(w way) bool { return w.label == f.label })
		ways = append(ways, s.ways[i])
	}
	bar := cli.NewProgress("line between the models", len(ways)*linePoints, 0)
	for _, w := range ways {
		for k := range linePoints {
			x := float64(k) / (linePoints - 1)
			p, err := fuse.Average([]models.Params{w.from.Params, w.to.Params}, []float64{1 - x, x})
			if err != nil {
				return err
			}
			score, err := s.runner.Evaluate(s.ctx, s.quick, scoreBatch, w.from.With(p))
			if err != nil {
				return err
			}
			s.curves[w.label] = append(s.curves[w.label], point{x, score.Accuracy, score.Loss})
			bar.Step(w.label)
		}
	}
	bar.Done()
	return nil
}

// finetune trains the fused models and the parents on equal budgets, the same
// batches in the same order.
func (s *story) finetune() error {
	feed := s.images.Feed(batchSize, 1_000_003+s.seed)
	steps := max(int(s.epochs*float64(feed.PerEpoch())), 1)
	starts := s.starts()
	t, err := mlx.NewTrainer(s.backend, s.parents[0], mlx.Recipe{Steps: steps, LR: s.lr, Warmup: steps / 10, WeightDecay: 0.05, Clip: 1})
	if err != nil {
		return err
	}
	defer t.Close()
	for _, st := range starts {
		started := time.Now()
		if err := t.Reset(st.model); err != nil {
			return err
		}
		r := training.Run{Trainer: t, Feed: feed.Batch, Steps: steps, Every: max(steps/5, 1)}
		r.Look = func(step int, m *models.Model) error { return s.watch(st.row.Label, step, m) }
		if err := s.watch(st.row.Label, 0, st.model); err != nil {
			return err
		}
		m, err := r.Do(s.ctx, "finetuning "+st.row.Label)
		if err != nil {
			return err
		}
		st.row.Finetuned, st.row.Seconds = steps, time.Since(started).Seconds()
		if err := s.add(st.row, m); err != nil {
			return err
		}
		if st.row.Label == s.main().label+tuned {
			if err := m.Save(filepath.Join(s.out, "finetuned")); err != nil {
				return err
			}
		}
	}
	return nil
}

// A start is a model to finetune and the row that it makes.
type start struct {
	row   cli.Row
	model *models.Model
}

// tuned ends the labels of finetuned rows.
const tuned = ", finetuned"

// starts lists what is finetuned: the best fusion of each method, vanilla
// fusion and the parents of the anchor's widths.
func (s *story) starts() []start {
	var out []start
	for _, f := range s.best() {
		out = append(out, start{cli.Row{Method: f.recipe.Method, Label: f.label + tuned, Options: f.recipe}, s.fused[f.label]})
	}
	if m := s.fused[vanillaLabel]; m != nil {
		out = append(out, start{cli.Row{Method: "vanilla", Label: vanillaLabel + tuned}, m})
	}
	for k, m := range s.parents {
		if equal(m, s.parents[0]) {
			out = append(out, start{cli.Row{Method: "parent", Label: parentLabel(k) + tuned}, m})
		}
	}
	return out
}

// watch adds a point to a finetuning curve.
func (s *story) watch(label string, step int, m *models.Model) error {
	score, err := s.runner.Evaluate(s.ctx, s.quick, scoreBatch, m)
	if err == nil {
		s.curves[label] = append(s.curves[label], point{float64(step), score.Accuracy, score.Loss})
	}
	return err
}
