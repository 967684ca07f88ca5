package fuse_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
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

// mainOrIdentity is a residual policy of one's own: it keeps the plan of the main
// branch at the sums of attention and leaves units where they are elsewhere.
type mainOrIdentity struct{ calls *int }

func (p mainOrIdentity) Merge(branches []graph.Branch) (ot.Plan, error) {
	if *p.calls++; *p.calls%2 == 0 {
		return graph.Main{}.Merge(branches)
	}
	return graph.Identity{}.Merge(branches)
}

// The parts of transport are values behind interfaces of one method: a residual
// policy of one's own takes the place of that of the paper.
func ExampleTransport() {
	calls := 0
	method := fuse.Transport{Residual: mainOrIdentity{&calls}, QK: fuse.Shared}
	_, report, err := fuse.Into(context.Background(), tiny(0), []*models.Model{tiny(1)}, method, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(calls, "sums,", len(report.Nodes), "nodes")
	// Output: 3 sums, 22 nodes
}

// opposite is a method of one's own.
type opposite struct{}

func (opposite) Align(_ context.Context, anchor *models.Model, others []*models.Model,
	_ fuse.Settings) (*fuse.Aligned, error) {
	out := &fuse.Aligned{Anchor: anchor}
	for _, m := range others {
		moved := models.Params{}
		for name, t := range m.Params {
			t.Data = slices.Clone(t.Data)
			for i := range t.Data {
				t.Data[i] = -t.Data[i]
			}
			moved[name] = t
		}
		out.Others = append(out.Others, moved)
	}
	return out, nil
}

// A method of one's own takes part in everything that settings offer. What it
// returns is checked.
func ExampleMethod() {
	m := tiny(0)
	fused, _, err := fuse.Into(context.Background(), m, []*models.Model{m}, opposite{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(slices.Max(fused.Params["classifier.weight"].Data))
	// Output: 0
}

// Models that cannot be fused are told apart before anything is computed.
func ExampleCheck() {
	c := models.ViTConfig{Hidden: 8, Layers: 2, Heads: 2, MLP: 16, Act: "gelu", Eps: 1e-6, Image: 8, Patch: 4, Channels: 3}
	deeper, err := models.Fresh(models.ViT(), c, 1, 0.5)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fuse.Check(deeper, tiny(0)))
	// Output: fuse: depth differs: the source has 2 layers, the anchor has 1 layers
}
