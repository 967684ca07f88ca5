package main

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/compute"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/story"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"
	"github.com/otfuse/otfuse/models/text"
)

const (
	scoreBatch = 64  // sequences scored at a time
	quickTest  = 128 // test sequences for the points of a curve
	turns      = 16  // test sequences for the pseudo-perplexity
)

// job is the main job before it is told: what is fused, and on which text.
type job struct {
	options
	parents []*models.Model // anchor first
	texts   texts
	backend compute.Backend
	runner  *mlx.Runner
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

// tell goes through the chapters on a backend of its own.
func (j *job) tell(ctx context.Context, chapters ...func(*story.Story) error) error {
	var err error
	if j.backend, err = mlx.Open(ctx, func(line string) { cli.Notice("%s", line) }); err != nil {
		return err
	}
	defer j.backend.Finalize()
	j.runner = mlx.NewRunner(j.backend)
	defer j.runner.Close()
	setup, err := j.setup(ctx)
	if err != nil {
		return err
	}
	cli.Notice("data: %s, %d test sequences; anchor and %d other model(s) of %d parameters", j.texts.label, len(j.texts.test), len(j.parents)-1, j.parents[0].Params.Size())
	return story.Tell(ctx, setup, chapters...)
}

// prepare opens the text and the parents and brings them together.
func prepare(ctx context.Context, o options) (*job, error) {
	if o.data == "auto" && o.parents == "" {
		o.data = own
		cli.Notice("the shipped parents know the encyclopedia that the program writes; -parents takes some that -train made from Wikipedia")
	}
	c, err := openCorpus(ctx, o)
	if err != nil {
		return nil, err
	}
	j := &job{options: o}
	if j.parents, err = story.Parents(o.parents, shipped, c.name); err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	length, err := fit(j.parents)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizerOf(o, j.parents)
	if err != nil {
		return nil, err
	}
	j.texts, err = cut(tok, c, length, o.texts)
	return j, err
}

// setup is what the story is told about.
func (j *job) setup(ctx context.Context) (story.Setup, error) {
	t := j.texts
	fusions, err := j.choice.Fusions()
	if err != nil {
		return story.Setup{}, err
	}
	feed := t.feeder(t.train, 1_000_003+j.seed)
	steps := max(int(j.epochs*float64(feed.PerEpoch())), 1)
	test := t.masked(t.test, len(t.test), testMask)
	return story.Setup{
		Title: fmt.Sprintf("Fusing %d BERTs", len(j.parents)), Samples: "sequences",
		Data: t.label, Backend: j.backend.Name(), Out: j.out, File: j.report, Parents: j.parents, Fusions: fusions, Runner: j.runner,
		Calib: t.masked(t.train, j.choice.Samples, calibMask), Test: test, Quick: test.Slice(0, min(quickTest, test.Len())), Batch: scoreBatch,
		Measure: story.Loss(),
		Score:   j.pseudo(ctx),
		Learner: func(f story.Fusion) *mlx.Learner {
			return &mlx.Learner{Backend: j.backend, Seed: j.seed, Feed: j.lessons(f)}
		},
		Trainer: func(m *models.Model) (*mlx.Trainer, error) {
			return mlx.NewTrainer(j.backend, m, mlx.Recipe{Steps: steps, LR: j.lr, Warmup: steps / 10, WeightDecay: 0.01, Clip: 1})
		},
		Feed: feed.batch, Lesson: batchSize, Steps: steps,
	}, nil
}

// pseudo adds pseudo-perplexities to rows.
func (j *job) pseudo(ctx context.Context) func(*cli.Row, ...*models.Model) error {
	each := text.Turns(j.texts.tok, j.texts.test[:min(turns, len(j.texts.test))]...)
	return func(row *cli.Row, ms ...*models.Model) error {
		s, err := j.runner.Evaluate(ctx, each, scoreBatch, ms...)
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
	seqs := j.texts.train
	if !f.Labelled() {
		seqs = seqs[:min(j.choice.Samples, len(seqs))]
	}
	feed := j.texts.feeder(seqs, 2_000_003+j.seed)
	return func(step int) (models.Batch, error) {
		b, err := feed.batch(step)
		if !f.Labelled() {
			delete(b, models.Labels)
		}
		return b, err
	}
}
