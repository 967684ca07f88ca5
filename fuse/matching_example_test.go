package fuse_test

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// A copy of a model in another basis is matched with the model: the same units
// lie on each other again, and the mean of both is the model.
func ExampleMatching() {
	ctx := context.Background()
	anchor := tiny(0)
	copied, err := modeltest.Relabelled(ctx, anchor, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	samples, err := modeltest.Batch(anchor, 2, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, method := range []fuse.Method{fuse.Vanilla{}, fuse.Matching{}} {
		fused, _, err := fuse.Into(ctx, anchor, []*models.Model{copied}, method, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		want, got := modeltest.Logits(anchor, samples), modeltest.Logits(fused, samples)
		fmt.Printf("%T the same logits: %t\n", method, max(want[0]-got[0], got[0]-want[0]) < 1e-5)
	}
	// Output:
	// fuse.Vanilla the same logits: false
	// fuse.Matching the same logits: true
}

// The linear layers of a mean are fitted to what the aligned models compute. It
// takes samples without labels; here their activations come from the slow
// interpreter for tests, in programs from the device of models/gomlx.
func ExampleRefit() {
	anchor, other := tiny(0), tiny(1)
	samples, err := modeltest.Batch(anchor, 40, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	settings := fuse.Settings{
		Calibration: modeltest.Calibration{Data: samples, Tokens: align.All{}},
		Refit:       &fuse.Refit{Ridge: 0.01},
	}
	fused, _, err := fuse.Into(context.Background(), anchor, []*models.Model{other}, fuse.Matching{Mix: 0.3}, &settings)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fused.Size(), "parameters")
	// Output:
	// 1074 parameters
}
