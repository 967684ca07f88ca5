package main

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/story"
	"github.com/otfuse/otfuse/internal/vision"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// quickTest is the number of test images for the points of a plot.
const quickTest = 2000

// tell runs the main job. Whatever stops it, what was found is reported.
func tell(ctx context.Context, o options) error {
	if err := cli.Writable(o.out); err != nil {
		return fmt.Errorf("vit-cifar: -out: %w", err)
	}
	img, parents, err := open(ctx, o)
	if err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	setup, err := o.setup(img, parents)
	if err != nil {
		return err
	}
	device, err := gomlx.Open(ctx, cli.Opening)
	if err != nil {
		return err
	}
	defer device.Close()
	setup.Backend, setup.Device = device.Name(), device
	setup.Judge = func(ms ...*models.Model) (gomlx.Score, error) { return img.Score(ctx, device, ms...) }
	recipe := gomlx.TrainConfig{Steps: setup.Steps, LR: o.lr, Warmup: setup.Steps / 10, WeightDecay: 0.05, Clip: 1}
	setup.Trainer = func(m *models.Model) (*gomlx.Trainer, error) { return device.Trainer(m, recipe) }
	setup.Distiller = func(m *models.Model) (*gomlx.Trainer, error) { return device.Distiller(m, parents, recipe) }
	setup.Learner = func(f story.Fusion) *gomlx.Learner {
		learner := device.Learner(o.lessons(img, f))
		learner.Seed = o.seed
		return learner
	}
	cli.Notice("data: %s, %d test images; anchor and %d other model(s) of %d parameters", img.Label, img.Test.Len(), len(parents)-1, parents[0].Size())
	return story.Tell(ctx, setup, (*story.Story).ScoreParents, (*story.Story).Vanilla, (*story.Story).Fuse, (*story.Story).Line, (*story.Story).Finetune, (*story.Story).Distill)
}

// open opens the parents and the images that they read.
func open(ctx context.Context, o options) (img vision.Images, parents []*models.Model, err error) {
	if o.parents != "" {
		if parents, err = story.Parents(o.parents, nil, ""); err != nil {
			return img, nil, err
		}
		o.side = vision.Side(parents[0])
	}
	if img, err = openImages(ctx, o); err != nil {
		return img, nil, err
	}
	if parents == nil {
		if parents, err = story.Parents("", shipped, img.Name); err != nil {
			return img, nil, err
		}
	}
	if err = img.Normalise(parents); err == nil {
		err = story.Alike(parents)
	}
	return img, parents, err
}

// setup is what the story is told about, but for what a backend does.
func (o options) setup(img vision.Images, parents []*models.Model) (s story.Setup, err error) {
	feed := img.Feed(batchSize, 1_000_003+o.seed)
	s = story.Setup{Title: fmt.Sprintf("Fusing %d vision transformers", len(parents)), Samples: "images", Data: img.Label, Out: o.out, File: o.report,
		Parents: parents, Tests: img.Test.Len(), Batch: img.ScoreBatch(), Feed: feed.Batch, Lesson: batchSize, Steps: max(int(o.epochs*float64(feed.StepsPerEpoch())), 1)}
	if s.Fusions, err = o.choice.Fusions(); err != nil {
		return s, err
	}
	if s.Calib, err = img.First(img.Train, o.choice.Samples); err != nil {
		return s, err
	}
	s.Quick, err = img.First(img.Test, min(quickTest, 4*img.ScoreBatch()))
	return s, err
}

// lessons are the batches of learned matching: of the training set with its
// labels, or of the calibration images without, mixed two by two so that a few
// hundred do not run out.
func (o options) lessons(img vision.Images, f story.Fusion) func(step int) (models.Batch, error) {
	feed := img.Feed(o.choice.Batch, 2_000_003+o.seed)
	if f.Labelled() {
		return feed.Batch
	}
	feed.Set = vision.Some(img.Train, o.choice.Samples)
	feed.Sampler.N, feed.Sampler.Batch = feed.Set.Len(), min(o.choice.Batch, feed.Set.Len())
	return feed.Mixed
}
