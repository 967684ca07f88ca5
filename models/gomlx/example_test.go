package gomlx_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/modeltest"
)

// must returns v, and ends the program where there is an error.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// Two vision transformers are fused by transport, aligned on the activations of
// 32 images at the class token and the central patches.
func ExampleDevice_Calibration() {
	ctx := context.Background()
	device := must(gomlx.Open(ctx, nil))
	defer device.Close()

	anchor, other := must(modeltest.ViT().Model(1)), must(modeltest.ViT().Model(2))
	samples := modeltest.ViT().Batch(32, 3)
	calibration := device.Calibration(samples, align.Window{Size: 2})
	calibration.Observe = func(p models.Progress) { fmt.Printf("%s: %d of %d samples\n", p.Stage, p.Done, p.Total) }
	fused, _, err := fuse.Into(ctx, anchor, []*models.Model{other}, fuse.Transport{},
		&fuse.Settings{Calibration: calibration})
	if err != nil {
		log.Fatal(err)
	}
	logits := must(device.Logits(ctx, fused, samples))
	fmt.Println("logits", logits.Shape)
	// Output:
	// calibrating: 32 of 32 samples
	// logits [32 3]
}

// A training is interrupted and resumes from its checkpoint.
func ExampleFit() {
	ctx := context.Background()
	device := must(gomlx.Open(ctx, nil))
	defer device.Close()
	dir := must(os.MkdirTemp("", "training-"))
	defer os.RemoveAll(dir)

	trainer := must(device.Trainer(must(modeltest.ViT().Model(1)), gomlx.TrainConfig{Steps: 40, LR: 1e-2, Warmup: 4}))
	defer trainer.Close()
	batches := func(step int) (models.Batch, error) { return modeltest.ViT().Batch(16, uint64(step%2)), nil }

	options := gomlx.FitOptions{Checkpoint: filepath.Join(dir, "training.safetensors")}
	limited, cancel := context.WithCancel(ctx)
	losses := map[int]float64{}
	options.Observe = func(p models.Progress) {
		losses[p.Done] = p.Loss
		if p.Done == 30 {
			cancel()
		}
	}
	err := gomlx.Fit(limited, trainer, batches, options)
	fmt.Println("cancelled:", errors.Is(err, context.Canceled), "after", trainer.Step())

	options.Observe = func(p models.Progress) {
		losses[p.Done] = p.Loss
		if p.Item != "" {
			fmt.Println("resumed after", p.Done)
		}
	}
	if err := gomlx.Fit(ctx, trainer, batches, options); err != nil {
		log.Fatal(err)
	}
	trained := must(trainer.Model())
	fmt.Println("trained", trained.Arch.Class, "for", trainer.Step(), "updates; the loss falls:", losses[40] < losses[1])
	// Output:
	// cancelled: true after 30
	// resumed after 30
	// trained ViTForImageClassification for 40 updates; the loss falls: true
}

// Models are scored alone and as an ensemble, 8 samples at a time.
func ExampleDevice_Evaluate() {
	ctx := context.Background()
	device := must(gomlx.Open(ctx, nil))
	defer device.Close()

	a, b := must(modeltest.ViT().Model(1)), must(modeltest.ViT().Model(2))
	data := modeltest.ViT().Batch(20, 3)
	alone := must(device.Evaluate(ctx, data, 8, a))
	together := must(device.Evaluate(ctx, data, 8, a, b))
	fmt.Println(alone.Count, together.Count, alone.Accuracy <= 1, together.Loss > 0)
	// Output: 20 20 true true
}

// Matching is refined by gradient descent, with what the models answer in place
// of labels.
func ExampleDevice_Learner() {
	ctx := context.Background()
	device := must(gomlx.Open(ctx, nil))
	defer device.Close()

	anchor, other := must(modeltest.ViT().Model(1)), must(modeltest.ViT().Model(2))
	batch := modeltest.ViT().Batch(16, 3)
	delete(batch, models.Labels)
	learner := device.Learner(func(int) (models.Batch, error) { return batch, nil })
	learner.Config = gomlx.TrainConfig{Steps: 30, LR: 2e-2}
	var losses []float64
	learner.Observe = func(p models.Progress) { losses = append(losses, p.Loss) }
	fused, _, err := fuse.Into(ctx, anchor, []*models.Model{other}, fuse.Matching{Learner: learner}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(fused.Arch.Class, len(losses), "updates; the loss falls:", losses[29] < losses[0])
	// Output: ViTForImageClassification 30 updates; the loss falls: true
}
