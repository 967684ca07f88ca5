package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/safetensors"
)

// Tuning trains models on equal budgets, the same batches in the same order.
type Tuning struct {
	Of       []string // labels of the rows whose models are trained, in this order
	Suffix   string   // of the labels of the rows that come out
	Config   gomlx.TrainConfig
	Batches  gomlx.Batches
	Size     int             // samples of a batch
	Teachers []*models.Model // whose mean answer is learned in place of labels; nil for labels
	Points   int             // of the curve after its start; 0 for no curve

	// Prepare makes what is trained of a model; nil takes it as it is.
	Prepare func(*models.Model) (*models.Model, error)

	// Score scores what was trained; nil means the score of the task.
	Score func(context.Context, *gomlx.Device, *models.Model) (gomlx.Score, error)
}

// runTuning goes through a tuning.
func (r *run) runTuning(ctx context.Context, t Tuning) error {
	if len(t.Of) == 0 {
		return nil
	}
	var starts []Outcome
	for _, label := range t.Of {
		start, ok := r.found[label]
		if !ok {
			return fmt.Errorf("there is no row %q to train", label)
		}
		if t.Prepare != nil {
			m, err := t.Prepare(start.Models[0])
			if err != nil {
				return err
			}
			start.Models = []*models.Model{m}
		}
		starts = append(starts, start)
	}
	for len(starts) > 0 {
		alike := slices.IndexFunc(starts, func(o Outcome) bool { return !sameNetwork(o.Models[0], starts[0].Models[0]) })
		if alike < 0 {
			alike = len(starts)
		}
		if err := r.tuneAlike(ctx, t, starts[:alike]); err != nil {
			return err
		}
		starts = starts[alike:]
	}
	return nil
}

// tuneAlike trains models of one network, which is compiled once.
func (r *run) tuneAlike(ctx context.Context, t Tuning, starts []Outcome) (err error) {
	trainer, err := t.trainer(r.device, starts[0].Models[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trainer.Close()) }()
	for _, start := range starts {
		if err := r.tuneModel(ctx, t, trainer, start); err != nil {
			return fmt.Errorf("%s%s: %w", start.Row.Label, t.Suffix, err)
		}
	}
	return nil
}

// sameNetwork reports whether two models of an experiment have one forward pass.
func sameNetwork(a, b *models.Model) bool {
	return a.Graph.String() == b.Graph.String() && a.Dims() == b.Dims()
}

func (t Tuning) trainer(d *gomlx.Device, m *models.Model) (*gomlx.Trainer, error) {
	if t.Teachers != nil {
		return d.Student(m, t.Teachers, nil, t.Config)
	}
	return d.Trainer(m, t.Config)
}

// tuneModel trains a model to the end of the budget and adds its row.
func (r *run) tuneModel(ctx context.Context, t Tuning, trainer *gomlx.Trainer, start Outcome) error {
	started, row := time.Now(), start.Row
	seen := fmt.Sprintf("%d updates of %d with labels", t.Config.Steps, t.Size)
	if t.Teachers != nil {
		seen = fmt.Sprintf("%d updates of %d without labels", t.Config.Steps, t.Size)
	}
	if row.Seen != "" {
		seen = row.Seen + "; " + seen
	}
	row = report.Row{Method: row.Method, Label: row.Label + t.Suffix, Options: row.Options, Finetuned: t.Config.Steps,
		Seen: seen}
	run := training{label: row.Label, trainer: trainer, config: t.Config, batches: t.Batches,
		data: describe(r.Task, r.Seed) + ", " + row.Label, teachers: t.Teachers}
	if t.Points > 0 {
		run.every = max(t.Config.Steps/t.Points, 1)
		run.look = func(step int, m *models.Model) error {
			p, err := r.point(ctx, float64(step), m)
			if err == nil {
				r.report.AddPoint(row, report.AlongUpdates, p)
			}
			return err
		}
		if err := run.look(0, start.Models[0]); err != nil {
			return err
		}
	}
	dir, err := r.shelf.place(run.data, t.Config, t.Size, start.Models[0])
	if err != nil {
		return err
	}
	m, err := run.resumed(ctx, start.Models[0], dir)
	if err != nil {
		return err
	}
	row.Seconds = time.Since(started).Seconds()
	var s gomlx.Score
	if t.Score != nil {
		s, err = t.Score(ctx, r.device, m)
	} else {
		s, err = r.Task.Score(ctx, r.device, m)
	}
	if err != nil {
		return err
	}
	return r.add(Outcome{Row: row, Models: []*models.Model{m}, Scores: []gomlx.Score{s}})
}

// resumed trains from a start. What was finished or interrupted before is found
// again in a directory, unless that is empty.
func (t training) resumed(ctx context.Context, start *models.Model, dir string) (*models.Model, error) {
	own := func(name string) safetensors.DType { return start.Params[name].DType }
	if dir != "" {
		if m, err := models.Open(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return retyped(m, own), err
		}
		t.checkpoint = dir + checkpointSuffix
	}
	if err := t.trainer.Reset(start); err != nil {
		return nil, err
	}
	m, err := t.run(ctx)
	if err != nil || dir == "" {
		return m, err
	}
	unrounded := func(string) safetensors.DType { return safetensors.F32 }
	return m, retyped(m, unrounded).Save(dir)
}

// retyped is a model whose tensors are stored in other types; nil for nil.
func retyped(m *models.Model, as func(name string) safetensors.DType) *models.Model {
	if m == nil {
		return nil
	}
	p := maps.Clone(m.Params)
	for name, t := range p {
		t.DType = as(name)
		p[name] = t
	}
	return m.With(p)
}
