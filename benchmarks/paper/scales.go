package main

import (
	"fmt"
	"strings"

	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
)

// scale is a preset of sizes and budgets: the same tables over smaller or
// larger networks.
type scale struct {
	Name     string       `json:"name"`
	Main     kind         `json:"main"`   // most tables fuse two of these
	Narrow   kind         `json:"narrow"` // what Main is compressed to
	Crowd    kind         `json:"crowd"`  // of many models and of fresh pairs
	Text     kind         `json:"text"`
	Models   int          `json:"models"`    // of the crowd
	Tune     lab.Schedule `json:"tune"`      // finetuning on images
	TuneText lab.Schedule `json:"tune_text"` // and on text
	Learn    int          `json:"learn"`     // updates of learned matching
	Images   int          `json:"images"`    // test images; 0 means all
	Texts    int          `json:"texts"`     // test sequences
	Draws    int          `json:"draws"`     // of calibration samples, where a fusion looks at them
	Windows  []int        `json:"windows"`
	Side     int          `json:"side"` // points along a side of the landscape
}

// kind is a network and how its parents are trained.
type kind struct {
	lab.Net
	Train   lab.Schedule `json:"train"`
	Shipped string       `json:"shipped,omitempty"` // folder of the parents that need no training, see package parents
}

// seed returns the kind with another seed.
func (k kind) seed(s int) kind {
	k.Seed = uint64(s)
	return k
}

// tiny takes minutes on two cores. Its windows of 2 and 4 patches are a part
// and the whole of a grid of 4 × 4.
func tiny() scale {
	train := lab.Schedule{Epochs: 24, Warmup: 1, Batch: 128, LR: 1e-3, MinLR: 1e-5, WeightDecay: 0.05, Clip: 1}
	main := kind{Net: lab.Net{Width: 128, Depth: 4, Heads: 4, Patch: 8}, Train: train,
		Shipped: "examples/vit-cifar/parents"}
	narrow := kind{Net: lab.Net{Width: 64, Depth: 4, Heads: 4, Patch: 8}, Train: train}
	narrow.Train.Epochs = 5
	text := kind{Net: lab.Net{Width: 128, Depth: 2, Heads: 4, Words: 2000, Length: 64},
		Shipped: "examples/bert-wiki/parents",
		Train:   lab.Schedule{Epochs: 6, Warmup: 0.3, Batch: 32, LR: 1e-3, MinLR: 1e-5, WeightDecay: 0.01, Clip: 1}}
	tune, tuneText := train, text.Train
	tune.Epochs, tune.Warmup = 2, 0.2
	tuneText.Epochs, tuneText.Warmup, tuneText.LR = 0.5, 0.05, 3e-4
	return scale{Name: "tiny", Main: main, Narrow: narrow, Crowd: narrow, Text: text, Models: 4, Tune: tune,
		TuneText: tuneText,
		Learn:    100, Images: 2000, Texts: 512, Draws: 3, Windows: []int{2, 4}, Side: 11}
}

// paper is Table 6 of Imfeld et al. (ICLR 2024) for CIFAR: AdamW at up to 1e-3,
// weight decay 5e-5, a cosine over 2500 epochs of which 0.025 % warm up, batches
// of 1024, two of them an update. The budget of finetuning, the narrow network
// and, but for its size and vocabulary, all about the BERT are ours.
func paper() scale {
	table6 := lab.Schedule{Epochs: 2500, Warmup: 0.00025 * 2500, Batch: 1024, Accumulate: 2, LR: 1e-3, WeightDecay: 5e-5}
	main := kind{Net: lab.Net{Width: 384, Depth: 7, Heads: 12, Patch: 4}, Train: table6}
	narrow := main
	narrow.Width = 192
	text := kind{Net: lab.Net{Width: 768, Depth: 12, Heads: 12, Words: 30_522, Length: 128},
		Train: lab.Schedule{Epochs: 40, Warmup: 2, Batch: 256, LR: 1e-4, MinLR: 1e-6, WeightDecay: 0.01, Clip: 1}}
	tune, tuneText := table6, text.Train
	tune.Epochs, tune.Warmup = 100, 0.00025*100
	tuneText.Epochs, tuneText.Warmup = 2, 0.1
	return scale{Name: "paper", Main: main, Narrow: narrow, Crowd: main, Text: text, Models: 5, Tune: tune,
		TuneText: tuneText,
		Learn:    250, Texts: 4096, Draws: 5, Windows: []int{2, 4, 6, 8}, Side: 25}
}

func scaleNamed(name string) (scale, error) {
	var names []string
	for _, s := range []scale{tiny(), paper()} {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return scale{}, fmt.Errorf("paper: -scale is %q, allowed are %s", name, strings.Join(names, ", "))
}

// What tables fuse: groups of parents, the anchor first.
func pair(s scale) [][]kind     { return [][]kind{{s.Main.seed(0), s.Main.seed(1)}} }
func texts(s scale) [][]kind    { return [][]kind{{s.Text.seed(0), s.Text.seed(1)}} }
func compress(s scale) [][]kind { return [][]kind{{s.Narrow.seed(0), s.Main.seed(0)}} }
func widen(s scale) [][]kind    { return [][]kind{{s.Main.seed(0), s.Narrow.seed(0)}} }

// simple are two of the crowd in vit-pytorch's SimpleViT.
func simple(s scale) [][]kind {
	k := s.Crowd
	k.Class = models.SimpleViT().Class
	return [][]kind{{k.seed(0), k.seed(1)}}
}

// pairs are three of the crowd with nothing in common.
func pairs(s scale) (out [][]kind) {
	for k := range 3 {
		out = append(out, []kind{s.Crowd.seed(2 * k), s.Crowd.seed(2*k + 1)})
	}
	return out
}

// crowd is many of them together.
func crowd(s scale) [][]kind {
	var all []kind
	for k := range s.Models {
		all = append(all, s.Crowd.seed(k))
	}
	return [][]kind{all}
}
