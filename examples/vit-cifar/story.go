package main

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/story"
	"github.com/otfuse/otfuse/internal/vision"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"
)

const (
	scoreBatch = 500  // images scored at a time
	quickTest  = 2000 // test images for the points of a plot
)

// tell runs the main job. Whatever stops it, what was found is reported.
func tell(ctx context.Context, o options) error {
	if err := cli.Writable(o.out); err != nil {
		return fmt.Errorf("vit-cifar: -out: %w", err)
	}
	img, err := openImages(ctx, o)
	if err != nil {
		return err
	}
	parents, err := story.Parents(o.parents, shipped, img.Name)
	if err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	if err := img.Normalise(parents); err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	setup, err := o.setup(img, parents)
	if err != nil {
		return err
	}
	backend, err := mlx.Open(ctx, func(line string) { cli.Notice("%s", line) })
	if err != nil {
		return err
	}
	defer backend.Finalize()
	setup.Backend, setup.Runner = backend.Name(), mlx.NewRunner(backend)
	defer setup.Runner.Close()
	recipe := mlx.Recipe{Steps: setup.Steps, LR: o.lr, Warmup: setup.Steps / 10, WeightDecay: 0.05, Clip: 1}
	setup.Trainer = func(m *models.Model) (*mlx.Trainer, error) { return mlx.NewTrainer(backend, m, recipe) }
	setup.Distiller = func(m *models.Model) (*mlx.Trainer, error) { return mlx.NewDistiller(backend, m, parents, recipe) }
	setup.Learner = func(f story.Fusion) *mlx.Learner {
		return &mlx.Learner{Backend: backend, Seed: o.seed, Feed: o.lessons(img, f)}
	}
	cli.Notice("data: %s, %d test images; anchor and %d other model(s) of %d parameters", img.Label, img.Test.Len(), len(parents)-1, parents[0].Params.Size())
	return story.Tell(ctx, setup, (*story.Story).ScoreParents, (*story.Story).Vanilla, (*story.Story).Fuse, (*story.Story).Line, (*story.Story).Finetune, (*story.Story).Distill)
}

// setup is what the story is told about, but for what a backend does.
func (o options) setup(img vision.Images, parents []*models.Model) (s story.Setup, err error) {
	feed := img.Feed(batchSize, 1_000_003+o.seed)
	s = story.Setup{Title: fmt.Sprintf("Fusing %d vision transformers", len(parents)), Samples: "images", Data: img.Label, Out: o.out, File: o.report,
		Parents: parents, Batch: scoreBatch, Measure: story.Accuracy(), Feed: feed.Batch, Lesson: batchSize, Steps: max(int(o.epochs*float64(feed.PerEpoch())), 1)}
	if s.Fusions, err = o.choice.Fusions(); err != nil {
		return s, err
	}
	if s.Calib, err = img.First(img.Train, o.choice.Samples); err != nil {
		return s, err
	}
	if s.Test, err = img.First(img.Test, img.Test.Len()); err != nil {
		return s, err
	}
	s.Quick = s.Test.Slice(0, min(quickTest, s.Test.Len()))
	return s, nil
}

// lessons are the batches of learned matching: of the training set with its
// labels, or of the calibration images without, mixed two by two so that a few
// hundred do not run out.
func (o options) lessons(img vision.Images, f story.Fusion) func(step int) (models.Batch, error) {
	feed := img.Feed(o.choice.Batch, 2_000_003+o.seed)
	if f.Labelled() {
		return feed.Batch
	}
	feed.Set = img.Train.Head(o.choice.Samples)
	feed.Order.N, feed.Order.Batch = feed.Set.Len(), min(o.choice.Batch, feed.Set.Len())
	return feed.Mixed
}
