package data_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/otfuse/otfuse/models/data"
)

func Example() {
	train := black(1000)
	norm := train.Norm()
	order := data.Sampler{N: train.Len(), Batch: 64, Seed: 7}

	images := make([]float32, order.Batch*3*32*32)
	labels := make([]int32, order.Batch)
	for step := range 2 * order.StepsPerEpoch() {
		rng := rand.New(rand.NewPCG(7, uint64(step)))
		err := train.Fill(images, labels, order.Indices(step), norm, data.Augment{Pad: 4, Flip: 0.5}, rng)
		if err != nil {
			fmt.Println(err)
			return
		}
		// … one training step on images and labels
	}
	fmt.Println(order.StepsPerEpoch(), "steps per epoch of", train.Classes)
	// Output:
	// 15 steps per epoch of [black]
}

func ExampleSampler() {
	o := data.Sampler{N: 7, Batch: 3, Seed: 1}
	for step := range 4 {
		fmt.Println("epoch", step/o.StepsPerEpoch(), o.Indices(step))
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
	order := data.Sampler{N: train.Len(), Batch: 64, Seed: 7}
	batch := data.Prefetch(2, func(step int) ([]float32, error) {
		images := make([]float32, order.Batch*3*32*32)
		return images, train.Fill(images, nil, order.Indices(step), train.Norm(), data.Augment{}, nil)
	})
	for step := range order.StepsPerEpoch() {
		images, err := batch(step)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = images // … one training step
	}
	fmt.Println(order.StepsPerEpoch(), "steps")
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
