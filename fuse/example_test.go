package fuse_test

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// tiny returns a small ViT with fresh weights.
func tiny(seed uint64) *models.Model {
	c := models.ViTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 16, Act: "gelu", Eps: 1e-6, Image: 8, Patch: 4, Channels: 3}
	m, err := models.Fresh(models.ViT(), c, seed, 0.5)
	if err != nil {
		panic(err)
	}
	return m
}

// Two models are fused by their weights alone, with exact transport.
func ExampleInto() {
	anchor, other := tiny(0), tiny(1)
	opt := &fuse.Options{
		Aligner: align.Units{
			Features: align.Weights{Prep: []align.Prep{align.UnitNorm{}}},
			Metric:   ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}},
			Solver:   ot.EMD{},
		},
		Observe: func(r fuse.NodeReport) {
			if r.Name == "vit.encoder.layer.0.intermediate.dense" {
				n, m := r.Push().Dims()
				fmt.Printf("%s: %s, %d units onto %d\n", r.Name, r.Flow, n, m)
			}
		},
	}
	fused, report, err := fuse.Into(context.Background(), anchor, []*models.Model{other}, opt)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(report.Nodes), "nodes,", fused.Size(), "parameters")
	// Output:
	// vit.encoder.layer.0.intermediate.dense: solve, 16 units onto 16
	// 22 nodes, 1074 parameters
}

// The mean without transport is vanilla fusion.
func ExampleAverage() {
	p, err := fuse.Average([]models.Params{
		{"w": {Shape: []int{2}, Data: []float32{0, 1}}},
		{"w": {Shape: []int{2}, Data: []float32{4, 5}}}}, []float64{0.75, 0.25})
	fmt.Println(p["w"].Data, err)
	// Output: [1 2] <nil>
}
