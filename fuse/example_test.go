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
	exact := fuse.Transport{Aligner: align.Units{
		Features: align.Weights{Prep: []align.Prep{align.UnitNorm{}}},
		Metric:   ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}},
		Solver:   ot.EMD{},
	}}
	fused, report, err := fuse.Into(context.Background(), anchor, []*models.Model{other}, exact,
		&fuse.Settings{KeepMaps: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range report.Nodes {
		if r.Name == "vit.encoder.layer.0.intermediate.dense" {
			n, m := r.Push().Dims()
			fmt.Printf("%s: %s, %d units onto %d\n", r.Name, r.Flow, n, m)
		}
	}
	fmt.Println(len(report.Nodes), "nodes,", fused.Size(), "parameters")
	// Output:
	// vit.encoder.layer.0.intermediate.dense: solve, 16 units onto 16
	// 22 nodes, 1074 parameters
}

// Models that are aligned once can be averaged at any shares.
func ExampleAligned_Line() {
	aligned, _, err := fuse.Align(context.Background(), tiny(0), []*models.Model{tiny(1)}, fuse.Matching{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range []float64{0, 0.5, 1} {
		m, err := aligned.Line(t)
		fmt.Println(t, m.Size(), err)
	}
	// Output:
	// 0 1074 <nil>
	// 0.5 1074 <nil>
	// 1 1074 <nil>
}
