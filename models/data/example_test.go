package data_test

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
)

// A training loop: batches of normalised, randomly cropped and mirrored images
// that depend on the step alone, so that training resumes exactly.
func Example() {
	train := black(1000) // or data.Open(ctx, "cifar10", data.Options{})
	norm, err := train.Norm()
	if err != nil {
		fmt.Println(err)
		return
	}
	sampler := data.Sampler{N: train.Len(), Batch: 64, Seed: 7}
	for step := range 2 * sampler.StepsPerEpoch() {
		rng := rand.New(rand.NewPCG(7, uint64(step)))
		batch, err := train.Batch(sampler.Indices(step), norm, data.Augment{Pad: 4, Flip: 0.5}, rng)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = batch // … one training step
	}
	fmt.Println(sampler.StepsPerEpoch(), "steps per epoch of", train.Classes)
	// Output:
	// 15 steps per epoch of [black]
}

// A folder of images, one folder for each class.
func ExampleOpenImageFolder() {
	dir, err := os.MkdirTemp("", "images")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "test/dog/1.png"} {
		if err := writeImage(filepath.Join(dir, name)); err != nil {
			fmt.Println(err)
			return
		}
	}
	train, test, err := data.OpenImageFolder(context.Background(), dir, data.Options{Size: data.Size{H: 32, W: 32}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(train.Len(), "to train,", test.Len(), "to test, classes", train.Classes)
	fmt.Println("labels", train.Labels, test.Labels)
	// Output:
	// 3 to train, 1 to test, classes [cat dog]
	// labels [0 0 1] [1]
}

// The first images of a set as samples of a network.
func ExampleSet_Batch() {
	set := black(10)
	norm := data.Norm{Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.5, 0.5, 0.5}}
	batch, err := set.Batch([]int{0, 1, 2}, norm, data.Augment{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(batch["pixel_values"].Shape, batch["pixel_values"].Floats[0])
	fmt.Println(batch[models.Labels].Ints)
	// Output:
	// [3 3 32 32] -1
	// [0 0 0]
}

// How a checkpoint wants its images: its preprocessor_config.json.
func ExampleImageProcessor() {
	config := `{"size": {"height": 224, "width": 224}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}`
	m := models.Model{Files: map[string][]byte{data.ProcessorFile: []byte(config)}}

	var p data.ImageProcessor
	if err := json.Unmarshal(m.Files[data.ProcessorFile], &p); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Size, p.Norm.Mean, p.Norm.Std)
	// Output:
	// {224 224} [0.5 0.5 0.5] [0.5 0.5 0.5]
}

func ExampleSampler() {
	s := data.Sampler{N: 7, Batch: 3, Seed: 1}
	for step := range 4 {
		fmt.Println("epoch", step/s.StepsPerEpoch(), s.Indices(step))
	}
	// Output:
	// epoch 0 [4 3 5]
	// epoch 0 [0 2 1]
	// epoch 1 [1 4 3]
	// epoch 1 [2 0 6]
}

func ExampleSet_Slice() {
	s := black(100)
	calibration, rest := s.Head(20), s.Slice(20, s.Len())
	fmt.Println(calibration.Len(), rest.Len())
	// Output:
	// 20 80
}

// The next two batches are read and decoded while one is in use.
func ExamplePrefetch() {
	train := black(1000)
	norm := data.Norm{Std: [3]float32{1, 1, 1}}
	sampler := data.Sampler{N: train.Len(), Batch: 64, Seed: 7}
	batch := data.Prefetch(2, func(step int) (models.Batch, error) {
		return train.Batch(sampler.Indices(step), norm, data.Augment{}, nil)
	})
	for step := range sampler.StepsPerEpoch() {
		b, err := batch(step)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = b // … one training step
	}
	fmt.Println(sampler.StepsPerEpoch(), "steps")
	// Output:
	// 15 steps
}

// black returns a set of n black images.
func black(n int) *data.Set {
	return &data.Set{
		Pixels: make([]byte, n*3*32*32), Labels: make([]int32, n),
		C: 3, H: 32, W: 32, Classes: []string{"black"},
	}
}

// writeImage writes a grey image of 40×30 pixels.
func writeImage(path string) error {
	img := image.NewGray(image.Rect(0, 0, 40, 30))
	img.SetGray(1, 1, color.Gray{Y: 200})
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return png.Encode(f, img)
}
