package main

import (
	"context"
	"fmt"
	"math"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/language"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/internal/story"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/text"
)

const (
	quickTest = 128 // test sequences for the points of a curve
	turns     = 16  // test sequences for the pseudo-perplexity
)

// job is the main job before it is told: what is fused, and on which text.
type job struct {
	options
	parents []*models.Model // anchor first
	texts   language.Texts
	device  *gomlx.Device
}

// tell runs the main job.
func tell(ctx context.Context, o options) error {
	if err := cli.Writable(o.out); err != nil {
		return fmt.Errorf("bert-wiki: -out: %w", err)
	}
	j, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	ending := (*story.Story).Finetune
	if o.glue != "" {
		g, err := openGlue(o.glue, j)
		if err != nil {
			return err
		}
		ending = g.finetune
	}
	return j.tell(ctx, (*story.Story).ScoreParents, (*story.Story).Vanilla, (*story.Story).Fuse, (*story.Story).Line, ending)
}

// tell goes through the chapters on a device of its own.
func (j *job) tell(ctx context.Context, chapters ...func(*story.Story) error) error {
	var err error
	if j.device, err = gomlx.Open(ctx, cli.Opening); err != nil {
		return err
	}
	defer j.device.Close()
	setup, err := j.setup(ctx)
	if err != nil {
		return err
	}
	cli.Notice("data: %s, %d test sequences; anchor and %d other model(s) of %d parameters", j.texts.Label, len(j.texts.Test), len(j.parents)-1, j.parents[0].Size())
	return story.Tell(ctx, setup, chapters...)
}

// prepare opens the text and the parents and brings them together.
func prepare(ctx context.Context, o options) (*job, error) {
	c, err := corpus(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	j := &job{options: o}
	if j.parents, err = story.Parents(o.parents, shipped, c.Name); err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	if err := c.Lend(j.parents); err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	length, err := language.Length(j.parents)
	if err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	tok, _, err := given(o)
	if err != nil {
		return nil, err
	}
	if tok, err = language.Vocabulary(tok, j.parents); err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	if err := story.Alike(j.parents); err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	if j.texts, err = c.Cut(tok, length, o.texts); err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	return j, nil
}

// setup is what the story is told about.
func (j *job) setup(ctx context.Context) (story.Setup, error) {
	t := j.texts
	fusions, err := j.choice.Fusions()
	if err != nil {
		return story.Setup{}, err
	}
	feed := t.Feed(t.Train, batchSize, 1_000_003+j.seed)
	steps := max(int(j.epochs*float64(feed.StepsPerEpoch())), 1)
	test := t.Masked(t.Test, language.TestMask)
	return story.Setup{
		Title: fmt.Sprintf("Fusing %d BERTs", len(j.parents)), Samples: "sequences",
		Data: t.Label, Backend: j.device.Name(), Out: j.out, File: j.report, Parents: j.parents, Fusions: fusions, Device: j.device,
		Calib: t.Masked(t.Train[:min(j.choice.Samples, len(t.Train))], language.CalibMask), Tests: test.Len(), Quick: test.Slice(0, min(quickTest, test.Len())), Batch: language.ScoreBatch,
		Judge: func(ms ...*models.Model) (gomlx.Score, error) {
			return j.device.Evaluate(ctx, test, language.ScoreBatch, ms...)
		},
		Score: j.pseudo(ctx),
		Learner: func(f story.Fusion) *gomlx.Learner {
			learner := j.device.Learner(j.lessons(f))
			learner.Seed = j.seed
			return learner
		},
		Trainer: func(m *models.Model) (*gomlx.Trainer, error) {
			return j.device.Trainer(m, gomlx.TrainConfig{Steps: steps, LR: j.lr, Warmup: steps / 10, WeightDecay: 0.01, Clip: 1})
		},
		Feed: feed.Batch, Lesson: batchSize, Steps: steps,
	}, nil
}

// pseudo adds pseudo-perplexities to rows.
func (j *job) pseudo(ctx context.Context) func(*report.Row, ...*models.Model) error {
	each := text.MaskEach(j.texts.Tok, j.texts.Test[:min(turns, len(j.texts.Test))]...)
	return func(row *report.Row, ms ...*models.Model) error {
		s, err := j.device.Evaluate(ctx, each, language.ScoreBatch, ms...)
		if err != nil {
			return fmt.Errorf("pseudo-perplexity: %w", err)
		}
		p := math.Exp(s.Loss)
		row.Pseudo = &p
		return nil
	}
}

// lessons are the batches of learned matching: of all the training text with the
// masked words, or of the calibration sequences without.
func (j *job) lessons(f story.Fusion) func(step int) (models.Batch, error) {
	seqs := j.texts.Train
	if !f.Labelled() {
		seqs = seqs[:min(j.choice.Samples, len(seqs))]
	}
	feed := j.texts.Feed(seqs, batchSize, 2_000_003+j.seed)
	return func(step int) (models.Batch, error) {
		b, err := feed.Batch(step)
		if !f.Labelled() {
			delete(b, models.Labels)
		}
		return b, err
	}
}
