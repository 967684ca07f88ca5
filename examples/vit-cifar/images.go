package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
)

// images are a data set ready for use.
type images struct {
	train, test *data.Set
	name, label string
	norm        data.Norm
}

// openImages opens the set of -data. Auto is CIFAR-10 where it can be had and
// shapes where it cannot.
func openImages(ctx context.Context, o options) (images, error) {
	name := o.data
	if name == "auto" {
		name = "cifar10"
	}
	var last string
	observe := func(p data.Progress) {
		if line := fmt.Sprintf("%s: %s", name, p.What); line != last {
			cli.Notice("%s", line)
			last = line
		}
	}
	size := data.Size{H: 32, W: 32}
	train, test, label, err := data.Open(ctx, name, data.Options{Dir: o.dir, Observe: observe, Size: size})
	if errors.Is(err, data.ErrUnavailable) && o.data == "auto" && ctx.Err() == nil {
		cli.Notice("CIFAR-10 is neither on this machine nor to be had from the network (%s); going on with shapes, a set drawn here", cli.OneLine(err))
		name = "shapes"
		train, test, label, err = data.Open(ctx, name, data.Options{})
	}
	if err != nil {
		return images{}, err
	}
	if train.Len() < batchSize || test.Len() == 0 {
		return images{}, fmt.Errorf("vit-cifar: %s has %d training and %d test images, want at least %d and 1", label, train.Len(), test.Len(), batchSize)
	}
	if o.images > 0 {
		test = test.Head(o.images)
	}
	return images{train: train, test: test, name: name, label: label, norm: train.Norm()}, nil
}

// batchOf normalises images into a batch with labels.
func batchOf(set *data.Set, idx []int, norm data.Norm, aug data.Augment, rng *rand.Rand) (models.Batch, error) {
	x := make([]float32, len(idx)*set.C*set.H*set.W)
	y := make([]int32, len(idx))
	if err := set.Fill(x, y, idx, norm, aug, rng); err != nil {
		return nil, err
	}
	return models.Batch{
		"pixel_values": {Shape: []int{len(idx), set.C, set.H, set.W}, Floats: x},
		models.Labels:  {Shape: []int{len(idx)}, Ints: y},
	}, nil
}

// first returns the first n images of a set as one batch.
func first(set *data.Set, n int, norm data.Norm) (models.Batch, error) {
	idx := make([]int, min(n, set.Len()))
	for i := range idx {
		idx[i] = i
	}
	return batchOf(set, idx, norm, data.Augment{}, nil)
}

// feeder makes the batches of a training from its step alone, so that a run
// resumes exactly.
type feeder struct {
	set  *data.Set
	norm data.Norm
	aug  data.Augment
	data.Order
}

// batchSize is the number of images in an update.
const batchSize = 128

func (i images) feeder(seed uint64) feeder {
	return feeder{i.train, i.norm, data.Augment{Pad: 4, Flip: 0.5}, data.Order{N: i.train.Len(), Batch: batchSize, Seed: seed}}
}

func (f feeder) batch(step int) (models.Batch, error) {
	return batchOf(f.set, f.Indices(step), f.norm, f.aug, rand.New(rand.NewPCG(f.Seed, uint64(step))))
}

// processor is the part of preprocessor_config.json that says how images are
// normalised.
type processor struct {
	Type      string         `json:"image_processor_type"`
	Normalise bool           `json:"do_normalize"`
	Rescale   bool           `json:"do_rescale"`
	Factor    float64        `json:"rescale_factor"`
	Resize    bool           `json:"do_resize"`
	Size      map[string]int `json:"size"`
	Mean      [3]float32     `json:"image_mean"`
	Std       [3]float32     `json:"image_std"`
}

// processorName is the file that says how images are prepared.
const processorName = "preprocessor_config.json"

func (i images) processor() ([]byte, error) {
	return json.MarshalIndent(processor{"ViTImageProcessor", true, true, 1. / 255, true,
		map[string]int{"height": i.train.H, "width": i.train.W}, i.norm.Mean, i.norm.Std}, "", "  ")
}

// normalise takes over how the parents' images were normalised, and checks that
// the parents fit the images.
func (i *images) normalise(parents []*models.Model) error {
	for k, m := range parents {
		c := m.Config
		if c.Image != i.train.H || c.Image != i.train.W || c.Channels != i.train.C || c.Classes() != len(i.train.Classes) {
			return fmt.Errorf("vit-cifar: parent %d reads %d×%d images of %d classes, %s has %d×%d and %d", k, c.Image, c.Image, c.Classes(),
				i.label, i.train.H, i.train.W, len(i.train.Classes))
		}
		text, ok := m.Files[processorName]
		if !ok {
			continue
		}
		var p processor
		if err := json.Unmarshal(text, &p); err != nil {
			return fmt.Errorf("vit-cifar: parent %d: %s: %w", k, processorName, err)
		}
		norm := data.Norm{Mean: p.Mean, Std: p.Std}
		if slices.Contains(p.Std[:], 0) {
			return fmt.Errorf("vit-cifar: parent %d: %s: image_std is %v", k, processorName, p.Std)
		}
		if k > 0 && norm != i.norm {
			return fmt.Errorf("vit-cifar: parents 0 and %d were trained on differently normalised images", k)
		}
		i.norm = norm
	}
	return nil
}
