package main

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/internal/vision"
)

// batchSize is the number of images in an update.
const batchSize = 128

// openImages opens the set of -data, as many test images as were asked for.
func openImages(ctx context.Context, o options) (vision.Images, error) {
	img, err := vision.Open(ctx, vision.Source{Set: o.data, Dir: o.dir, Side: o.side})
	if err == nil && o.images > 0 {
		img.Test = vision.Some(img.Test, o.images)
	}
	return img, err
}

// parent is the training that the flags describe.
func (o options) parent(img vision.Images) vision.Parent {
	return vision.Parent{Images: img, Out: o.out,
		Net:      vision.Net{Width: o.width, Depth: o.depth, Heads: o.heads, Patch: o.patch, Seed: o.seed},
		Schedule: training.Schedule{Epochs: o.epochs, Warmup: 1, Batch: batchSize, LR: o.lr, MinLR: o.lr / 100, WeightDecay: 0.05, Clip: 1}}
}

// trainParent is the -train mode: one parent from scratch into -out.
func trainParent(ctx context.Context, o options) error {
	if err := cli.Replaceable(o.out); err != nil {
		return fmt.Errorf("vit-cifar: -out: %w", err)
	}
	img, err := openImages(ctx, o)
	if err != nil {
		return err
	}
	if err := training.Raise(ctx, o.parent(img)); err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	return nil
}
