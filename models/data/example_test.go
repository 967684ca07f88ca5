package data_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/otfuse/otfuse/models/data"
)

func Example() {
	train := data.Shapes(1000, 1)
	norm := train.Norm()
	order := data.Order{N: train.Len(), Batch: 64, Seed: 7}

	images := make([]float32, order.Batch*3*32*32)
	labels := make([]int32, order.Batch)
	for step := range 2 * order.PerEpoch() {
		rng := rand.New(rand.NewPCG(7, uint64(step)))
		err := train.Fill(images, labels, order.Indices(step), norm, data.Augment{Pad: 4, Flip: 0.5}, rng)
		if err != nil {
			fmt.Println(err)
			return
		}
		// … one training step on images and labels
	}
	fmt.Println(order.PerEpoch(), "steps per epoch of", train.Classes)
	// Output:
	// 15 steps per epoch of [disk half square triangle cross star ring crescent stripes checker]
}

func ExampleOrder() {
	o := data.Order{N: 7, Batch: 3, Seed: 1}
	for step := range 4 {
		fmt.Println("epoch", step/o.PerEpoch(), o.Indices(step))
	}
	// Output:
	// epoch 0 [4 3 5]
	// epoch 0 [0 2 1]
	// epoch 1 [1 4 3]
	// epoch 1 [2 0 6]
}

func ExampleSet_Slice() {
	s := data.Shapes(100, 1)
	calibration, rest := s.Head(20), s.Slice(20, s.Len())
	fmt.Println(calibration.Len(), rest.Len())
	// Output:
	// 20 80
}

// The next two batches are read and decoded while one is in use.
func ExampleAhead() {
	train := data.Shapes(1000, 1)
	order := data.Order{N: train.Len(), Batch: 64, Seed: 7}
	batch := data.Ahead(2, func(step int) ([]float32, error) {
		images := make([]float32, order.Batch*3*32*32)
		return images, train.Fill(images, nil, order.Indices(step), train.Norm(), data.Augment{}, nil)
	})
	for step := range order.PerEpoch() {
		images, err := batch(step)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = images // … one training step
	}
	fmt.Println(order.PerEpoch(), "steps")
	// Output:
	// 15 steps
}
