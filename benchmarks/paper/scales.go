package main

import (
	"fmt"
	"strings"

	"github.com/otfuse/otfuse/internal/vision"
)

// A scale is a preset of sizes and budgets: the same tables over smaller or
// larger networks.
type scale struct {
	Name    string          `json:"name"`
	Main    kind            `json:"main"`   // most tables fuse two of these
	Narrow  kind            `json:"narrow"` // what Main is compressed to
	Crowd   kind            `json:"crowd"`  // of the table of many models
	Models  int             `json:"models"` // in the crowd at most
	Tune    vision.Schedule `json:"tune"`   // finetuning
	Images  int             `json:"images"` // test images; 0 means all
	Draws   int             `json:"draws"`  // of calibration images, where a fusion looks at them
	Windows []int           `json:"windows"`
	Side    int             `json:"side"` // points along a side of the landscape
}

// A kind is a network and how its parents are trained.
type kind struct {
	vision.Net
	Train   vision.Schedule `json:"train"`
	Shipped string          `json:"shipped,omitempty"` // folder with parents that need no training
}

// seed returns the kind with another seed.
func (k kind) seed(s int) kind {
	k.Seed = uint64(s)
	return k
}

// tiny takes minutes on two cores. Its windows of 2 and 4 patches are a part
// and the whole of a grid of 4 × 4.
func tiny() scale {
	train := func(epochs float64) vision.Schedule {
		return vision.Schedule{Epochs: epochs, Warmup: 1, Batch: 128, LR: 1e-3, MinLR: 1e-5, WeightDecay: 0.05, Clip: 1}
	}
	narrow := kind{Net: vision.Net{Width: 64, Depth: 4, Heads: 4, Patch: 8}, Train: train(8)}
	crowd := narrow
	crowd.Train = train(3)
	return scale{Name: "tiny", Narrow: narrow, Crowd: crowd, Models: 4, Images: 2000, Draws: 3, Windows: []int{2, 4}, Side: 11,
		Main: kind{Net: vision.Net{Width: 128, Depth: 4, Heads: 4, Patch: 8}, Train: train(24), Shipped: "examples/vit-cifar/parents"},
		Tune: vision.Schedule{Epochs: 1, Warmup: 0.1, Batch: 128, LR: 1e-3, MinLR: 1e-5, WeightDecay: 0.05, Clip: 1}}
}

// paper is Table 6 of Imfeld et al. (ICLR 2024) for CIFAR: AdamW at up to 1e-3,
// weight decay 5e-5, a cosine over 2500 epochs of which 0.025 % warm up, batches
// of 1024, two of them an update. The budget of finetuning and the narrow
// network are ours.
func paper() scale {
	table6 := vision.Schedule{Epochs: 2500, Warmup: 0.00025 * 2500, Batch: 1024, Accumulate: 2, LR: 1e-3, WeightDecay: 5e-5}
	main := kind{Net: vision.Net{Width: 384, Depth: 7, Heads: 12, Patch: 4}, Train: table6}
	narrow := main
	narrow.Width = 192
	tune := table6
	tune.Epochs, tune.Warmup = 100, 0.00025*100
	return scale{Name: "paper", Main: main, Narrow: narrow, Crowd: main, Models: 5, Tune: tune, Draws: 5, Windows: []int{2, 4, 6, 8}, Side: 25}
}

func scaleOf(name string) (scale, error) {
	var names []string
	for _, s := range []scale{tiny(), paper()} {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return scale{}, fmt.Errorf("paper: -scale is %q, allowed are %s", name, strings.Join(names, ", "))
}

// What tables fuse, the anchor first.
func pair(s scale) []kind     { return []kind{s.Main.seed(0), s.Main.seed(1)} }
func compress(s scale) []kind { return []kind{s.Narrow.seed(0), s.Main.seed(0)} }
func widen(s scale) []kind    { return []kind{s.Main.seed(0), s.Narrow.seed(0)} }

// crowd returns the first n of the crowd.
func crowd(n int) func(scale) []kind {
	return func(s scale) (out []kind) {
		for k := range min(n, s.Models) {
			out = append(out, s.Crowd.seed(k))
		}
		return out
	}
}
