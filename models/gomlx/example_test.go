package gomlx_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// tiny returns a ViT with fresh weights, in place of a checkpoint.
func tiny(seed uint64) *models.Model {
	c := models.ViTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 16, Act: "gelu", Image: 8, Patch: 4, Channels: 3}
	m, err := models.Fresh(models.ViT(), c, seed, 0.3)
	if err != nil {
		panic(err)
	}
	return m
}

// checkered returns 12 images of two classes: checkered and plain.
func checkered(int) (models.Batch, error) {
	pixels, labels := models.Array{Shape: []int{12, 3, 8, 8}}, models.Array{Shape: []int{12}}
	for i := range 12 * 3 * 8 * 8 {
		image, x, y := i/(3*8*8), i%8, i/8%8
		value := float32((x+y)%2*(image%2)) + 0.1*float32(image)
		pixels.Floats = append(pixels.Floats, value)
	}
	for image := range int32(12) {
		labels.Ints = append(labels.Ints, image%2)
	}
	return models.Batch{"pixel_values": pixels, models.Labels: labels}, nil
}

// Two models are aligned by their activations on samples, which takes one pass
// over them. Labels are not needed.
func ExampleDevice_Calibration() {
	ctx := context.Background()
	device, err := gomlx.Open(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer device.Close()
	samples, err := checkered(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	settings := fuse.Settings{Calibration: device.Calibration(samples, align.Lead{})} // the class token alone
	fused, report, err := fuse.Into(ctx, tiny(0), []*models.Model{tiny(1)}, fuse.Transport{}, &settings)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(report.Nodes), "nodes,", fused.Size(), "parameters")
	// Output:
	// 22 nodes, 1074 parameters
}

// Learned matching refines the maps of matching by gradient descent.
func ExampleDevice_Learner() {
	ctx := context.Background()
	device, err := gomlx.Open(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer device.Close()
	learner := device.Learner(checkered)
	learner.Config.Steps = 5
	fused, _, err := fuse.Into(ctx, tiny(0), []*models.Model{tiny(1)}, fuse.Matching{Learner: learner}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fused.Size(), "parameters")
	// Output:
	// 1074 parameters
}

// A model is trained, and scored on the data it was trained on. Were the
// training interrupted, the same call would resume from the checkpoint.
func ExampleFit() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "gomlx")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	device, err := gomlx.Open(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer device.Close()
	trainer, err := device.Trainer(tiny(0), gomlx.TrainConfig{Steps: 40, LR: 1e-2, Warmup: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = gomlx.Fit(ctx, trainer, checkered, gomlx.FitOptions{
		Checkpoint: filepath.Join(dir, "training.safetensors"),
		Observe: func(p models.Progress) {
			if p.Done%20 == 0 {
				fmt.Println(p.Stage, p.Done, "of", p.Total)
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	trained, err := trainer.Model()
	if err != nil {
		fmt.Println(err)
		return
	}
	test, err := checkered(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	score, err := device.Evaluate(ctx, test, 12, trained)
	fmt.Println(score.Accuracy, err)
	// Output:
	// training 0 of 40
	// training 20 of 40
	// training 40 of 40
	// 1 <nil>
}
