package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// training is one training: what it sees and how it is watched.
type training struct {
	label      string // of its progress bar
	trainer    *gomlx.Trainer
	config     gomlx.TrainConfig // of the trainer
	batches    gomlx.Batches
	data       string                                // what the batches are of, in words
	teachers   []*models.Model                       // whose answers are learned; nil for labels
	checkpoint string                                // file to resume from; empty for none
	every      int                                   // updates between two looks
	look       func(step int, m *models.Model) error // also after the last update; nil for none
}

// checkpoints is the number of times that a training writes its checkpoint, but for short
// ones, which make so many updates at least between two of them.
const (
	checkpoints        = 100
	betweenCheckpoints = 25
)

// run trains to the last update, or until ctx is done: then what was reached is in
// the checkpoint, and the same call resumes.
func (t training) run(ctx context.Context) (*models.Model, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var bar *cli.Progress
	observe := func(p models.Progress) {
		if bar == nil {
			if p.Item != "" {
				cli.Notice("%s: going on at step %d of %s", t.label, p.Done, p.Item)
			}
			bar = cli.NewProgress(t.label, p.Total, p.Done)
			return
		}
		bar.Step(fmt.Sprintf("loss %.3f", p.Loss))
		if t.look != nil && (p.Done%t.every == 0 || p.Done == p.Total) {
			m, err := t.trainer.Model()
			if err == nil {
				err = t.look(p.Done, m)
			}
			if err != nil {
				stop(err)
			}
		}
	}
	batches := data.Prefetch(max(t.config.Accumulate, 1), t.batches) // the next update's, while one computes
	every := max(t.config.Steps/checkpoints, betweenCheckpoints)
	o := gomlx.FitOptions{Checkpoint: t.checkpoint, Every: every, Observe: observe}
	if t.checkpoint != "" {
		var err error
		if o.Data, err = t.fingerprint(); err != nil {
			return nil, err
		}
	}
	if err := gomlx.Fit(ctx, t.trainer, batches, o); err != nil {
		return nil, err
	}
	bar.Done()
	return t.trainer.Model()
}

// Scratch is a network to be trained from scratch.
type Scratch struct {
	Task     Task
	Net      Net
	Schedule Schedule
	Out      string                                     // directory that the network is saved to
	Finish   func(*models.Model) (*models.Model, error) // makes what is saved; may be nil
	model    *models.Model
}

// NewScratch draws the network and finds out whether it can be built.
func NewScratch(t Task, n Net, s Schedule) (*Scratch, error) {
	m, err := t.Network(n)
	if err != nil {
		return nil, err
	}
	return &Scratch{Task: t, Net: n, Schedule: s, model: m}, nil
}

// Model returns the network as it was drawn.
func (s *Scratch) Model() *models.Model { return s.model }

// describe says what a training is of.
func describe(t Task, seed uint64) string {
	_, label := t.Names()
	return fmt.Sprintf("%s, %d %s, seed %d", label, t.Size(), t.Unit(), seed)
}

// looks is the number of times that a training from scratch is scored.
const looks = 5

// Train trains the network, scores it now and then and saves it. What is
// interrupted resumes at the next call.
func (s *Scratch) Train(ctx context.Context, d *gomlx.Device) error {
	batches := s.Task.Batches(nil, s.Schedule.Batch, s.Net.Seed)
	config := s.Schedule.Config(batches.PerEpoch)
	trainer, err := d.Trainer(s.model, config)
	if err != nil {
		return err
	}
	defer trainer.Close()
	t := training{label: "training", trainer: trainer, config: config, batches: batches.At,
		data: describe(s.Task, s.Net.Seed), checkpoint: s.Out + checkpointSuffix, every: max(config.Steps/looks, 1)}
	t.look = func(step int, m *models.Model) error {
		score, err := s.Task.Score(ctx, d, m)
		if err == nil {
			cli.Notice("epoch %.1f: test accuracy %.2f %%, loss %.3f",
				s.Schedule.Epochs*float64(step)/float64(config.Steps), 100*score.Accuracy, score.Loss)
		}
		return err
	}
	_, label := s.Task.Names()
	cli.Notice("training on %s, %d %s, seed %d, %g epochs; Ctrl-C stops, the same command goes on",
		label, s.Task.Size(), s.Task.Unit(), s.Net.Seed, s.Schedule.Epochs)
	m, err := t.run(ctx)
	if err != nil {
		return err
	}
	return s.save(m, t.checkpoint)
}

// save saves the trained network; then the checkpoint of the training can go.
func (s *Scratch) save(m *models.Model, checkpoint string) error {
	if s.Finish != nil {
		var err error
		if m, err = s.Finish(m); err != nil {
			return err
		}
	}
	m = withCard(m, describe(s.Task, s.Net.Seed))
	if err := m.Save(s.Out); err != nil {
		return err
	}
	if err := os.Remove(checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cli.Notice("saved %s", s.Out)
	return nil
}

// withCard returns a model whose card says what it was trained on.
func withCard(m *models.Model, data string) *models.Model {
	out := *m
	out.Files = maps.Clone(m.Files)
	if out.Files == nil {
		out.Files = map[string][]byte{}
	}
	out.Files[report.CardFile] = report.Card(m, data)
	return &out
}
