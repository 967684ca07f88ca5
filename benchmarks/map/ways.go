package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A kind says what a way is compared with.
type kind string

const (
	reference kind = "reference" // two networks in place of one
	control   kind = "control"   // costs as much without fusing
	fused     kind = "fused"     // fuses, and may train what comes of it
)

// A way makes one network of two, or several to be scored as an ensemble.
type way struct {
	Name   string `json:"way"`
	Kind   kind   `json:"kind"`
	Labels bool   `json:"labels,omitempty"` // the samples come with their labels
	make   func(context.Context, *site) ([]*models.Model, error)
}

// A row is what came of a way.
type row struct {
	way
	Accuracy float64 `json:"accuracy"`
	Loss     float64 `json:"loss"`
	Seconds  float64 `json:"seconds"`
}

// A result is what is kept of a cell.
type result struct {
	cell
	Data    string `json:"data"`
	Backend string `json:"backend"`
	Updates int    `json:"updates"`
	Tests   int    `json:"tests"`
	Rows    []row  `json:"rows"`
}

// A site is where the ways of a cell are tried.
type site struct {
	cell
	device  *gomlx.Device
	task    lab.Task
	parents []*models.Model
	idx     []int // samples that models are aligned on; all that is seen where not all samples are
}

// cell goes on with an item: ways whose results are kept are not tried again.
func (b *bench) cell(ctx context.Context, c cell) error {
	out := result{cell: c}
	there, err := exists(b.file(c))
	if err == nil && there {
		err = report.ReadJSON(b.file(c), &out)
	}
	left := slices.DeleteFunc(c.ways(), func(w way) bool {
		return slices.ContainsFunc(out.Rows, func(r row) bool { return r.Name == w.Name })
	})
	if err != nil || len(left) == 0 {
		return err
	}
	task, parents, err := b.group(ctx, c.pair)
	if err != nil {
		return err
	}
	s := &site{cell: c, device: b.device, task: task, parents: parents,
		idx: lab.Draw(task, c.aligned(), 100*c.Pair+c.Draw)}
	_, out.Data = task.Names()
	out.Backend, out.Updates, out.Tests = b.device.Name(), c.updates(), task.Tests()
	for _, w := range left {
		started := time.Now()
		ms, err := w.make(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", c, w.Name, err)
		}
		seconds := time.Since(started).Seconds()
		score, err := task.Score(ctx, b.device, ms...)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", c, w.Name, err)
		}
		cli.Notice("%s  %-28s %6.2f %%  %.3f nats  %4.0f s", c, w.Name, 100*score.Accuracy, score.Loss, seconds)
		out.Rows = append(out.Rows, row{w, score.Accuracy, score.Loss, seconds})
		if err := report.WriteJSON(b.file(c), out); err != nil {
			return err
		}
	}
	return nil
}

// alignedAtMost is the number of samples that models are aligned on where there are more.
const alignedAtMost = 2000

// aligned is the number of samples that models are aligned on.
func (c cell) aligned() int {
	if c.Samples == all {
		return alignedAtMost
	}
	return c.Samples
}

// ways are those that use the samples and the budget of a cell: without a budget those
// that are not trained.
func (c cell) ways() []way {
	refit := recipe.Recipe{Method: recipe.Match, Refit: lab.Ridge}
	sideBySide := recipe.Recipe{Method: recipe.Concatenate, Refit: lab.Ridge}
	if c.Budget > 0 {
		out := []way{
			{"learned", fused, false, fusing(c.learned(c.updates()))},
			{"parent, distilled", control, false, fusing(c.distilled(c.updates()))},
			{"matching, refit, distilled", fused, false, fusing(c.startedFrom(refit, c.updates()))},
			{"learned, distilled", fused, false, fusing(c.startedFrom(c.learned(c.updates()/2), c.updates()-c.updates()/2))},
			{"parent, finetuned", control, true, finetuning(nil)},
			{"matching, refit, finetuned", fused, true, finetuning(fusing(refit))},
		}
		if ofImages(c.Arch) {
			head := recipe.Recipe{Method: recipe.Head}
			out = append(out,
				way{"parent, head refit, distilled", control, false, fusing(c.startedFrom(head, c.updates()))},
				way{"parent, head refit, finetuned", control, true, finetuning(fusing(head))})
		}
		if c.Arch != pinned {
			out = append(out,
				way{"side by side, refit, distilled", fused, false, fusing(c.startedFrom(sideBySide, c.updates()))},
				way{"side by side, refit, finetuned", fused, true, finetuning(fusing(sideBySide))})
		}
		return out
	}
	features := ""
	if c.Samples == 0 {
		features = "weights"
	}
	out := []way{
		{"parent 0", control, false, func(_ context.Context, s *site) ([]*models.Model, error) { return s.parents[:1], nil }},
		{"parent 1", control, false, func(_ context.Context, s *site) ([]*models.Model, error) { return s.parents[1:], nil }},
		{"ensemble", reference, false, func(_ context.Context, s *site) ([]*models.Model, error) { return s.parents, nil }},
		{"plain average", control, false, fusing(recipe.Recipe{Method: recipe.Vanilla})},
		{"parent, shrunk", control, false, shrinking},
		{"transport", fused, false, fusing(recipe.Recipe{Method: recipe.Flow, Features: features})},
		{"matching", fused, false, fusing(recipe.Recipe{Method: recipe.Match, Features: features})},
	}
	if c.Samples != 0 {
		out = append(out, way{"matching, refit", fused, false, fusing(refit)})
	}
	if c.Samples != 0 && ofImages(c.Arch) { // the words of decoders and of BERT are tied
		out = append(out, way{"parent, head refit", control, false, fusing(recipe.Recipe{Method: recipe.Head})})
	}
	switch {
	case c.Arch == pinned:
	case c.Samples == 0:
		out = append(out, way{"side by side", fused, false,
			fusing(recipe.Recipe{Method: recipe.Concatenate, Features: features})})
	default:
		out = append(out, way{"side by side, refit", fused, false, fusing(sideBySide)})
	}
	return out
}

// pinned is the architecture whose residual stream has a fixed basis and cannot be cut.
const pinned = "simplevit"

// batch is the number of samples of an update.
const batch = 64

// learned is learned matching on a budget.
func (c cell) learned(updates int) recipe.Recipe {
	return recipe.Recipe{Method: recipe.Learned, Steps: updates, Batch: batch}
}

// distilled is the distillation of all parents into the first on a budget.
func (c cell) distilled(updates int) recipe.Recipe {
	return recipe.Recipe{Method: recipe.Distil, Steps: updates, Batch: batch, LR: rate}
}

// startedFrom is a distillation that begins with what another method makes.
func (c cell) startedFrom(start recipe.Recipe, updates int) recipe.Recipe {
	out := c.distilled(updates)
	out.Start = &start
	return out
}

// rate is the peak learning rate of what trains weights.
const rate = 5e-4

// fusing is a way that follows a recipe.
func fusing(r recipe.Recipe) func(context.Context, *site) ([]*models.Model, error) {
	return func(ctx context.Context, s *site) ([]*models.Model, error) {
		r.Samples = max(len(s.idx), 1)
		t := lab.Trial{Label: r.Method, Recipe: r, Mixed: ofImages(s.Arch), All: s.Samples == all}
		t, err := t.Resolved()
		if err != nil {
			return nil, err
		}
		f, err := lab.Attempt{Device: s.device, Task: s.task, Parents: s.parents, Trial: t, Samples: s.idx,
			Seed: uint64(s.Draw), Observe: func(models.Progress) {}}.Fuse(ctx)
		if err != nil {
			return nil, err
		}
		return []*models.Model{f.Model}, nil
	}
}

// shrinking is what a mean is where nothing of the other parent comes through.
func shrinking(_ context.Context, s *site) ([]*models.Model, error) {
	m, err := lab.Shrunk(s.parents[0], 1/float64(len(s.parents)))
	return []*models.Model{m}, err
}

// finetuning trains a start, nil for the first parent, on the labels of the samples.
func finetuning(start func(context.Context, *site) ([]*models.Model, error)) func(context.Context, *site) (
	[]*models.Model, error) {
	return func(ctx context.Context, s *site) (_ []*models.Model, err error) {
		ms := s.parents[:1]
		if start != nil {
			if ms, err = start(ctx, s); err != nil {
				return nil, err
			}
		}
		steps := s.updates()
		trainer, err := s.device.Trainer(ms[0], gomlx.TrainConfig{Steps: steps, LR: rate, Warmup: steps / 10,
			WeightDecay: 0.05, Clip: 1})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, trainer.Close()) }()
		seen := s.idx
		if s.Samples == all {
			seen = nil
		}
		if err := gomlx.Fit(ctx, trainer, s.task.Batches(seen, batch, uint64(s.Draw)).At, gomlx.FitOptions{}); err != nil {
			return nil, err
		}
		m, err := trainer.Model()
		return []*models.Model{m}, err
	}
}
