// Package vision is what the programs about images share: a data set made
// ready, its batches, and vision transformers trained on it from scratch.
package vision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
)

// Images are a data set ready for use.
type Images struct {
	Train, Test *data.Set
	Name        string // as [data.Open] knows it
	Label       string // what results on it must be called
	Norm        data.Norm
}

// A Source says where images are from.
type Source struct {
	Set  string // of [dataset.ImageNames], or "auto": CIFAR-10 where it can be had and shapes where it cannot
	Dir  string // looked in first
	Side int    // pixels that images of a folder are scaled to; 0 means 64
}

// Open opens a set of images.
func Open(ctx context.Context, from Source) (Images, error) {
	name := from.Set
	if name == "auto" {
		name = "cifar10"
	}
	var last string
	observe := func(p models.Progress) {
		if line := fmt.Sprintf("%s: %s %s", name, p.Stage, p.Item); line != last {
			cli.Notice("%s", line)
			last = line
		}
	}
	train, test, label, err := dataset.Images(ctx, name, data.Options{Dir: from.Dir, Observe: observe, Size: data.Size{H: from.Side, W: from.Side}})
	if errors.Is(err, data.ErrUnavailable) && from.Set == "auto" && ctx.Err() == nil {
		cli.Notice("CIFAR-10 is neither on this machine nor to be had from the network (%s); going on with shapes, a set drawn here", cli.OneLine(err))
		name = "shapes"
		train, test, label, err = dataset.Images(ctx, name, data.Options{})
	}
	if err != nil {
		return Images{}, err
	}
	if train.Len() == 0 || test.Len() == 0 {
		return Images{}, fmt.Errorf("%s has %d training and %d test images, want at least 1 of each", label, train.Len(), test.Len())
	}
	norm, err := train.Norm()
	return Images{Train: train, Test: test, Name: name, Label: label, Norm: norm}, err
}

// batchOf normalises images into a batch with labels.
func (f Feeder) batchOf(idx []int, rng *rand.Rand) (models.Batch, error) {
	return f.Set.Batch(idx, f.Norm, f.Augment, rng)
}

// Some returns n images of a set, or all where there are fewer: the first, or,
// where a set comes class by class as folders do, ones spread evenly over it.
func Some(set *data.Set, n int) *data.Set {
	if n >= set.Len() || !slices.IsSorted(set.Labels) {
		return set.Head(n)
	}
	idx := make([]int, n)
	for k := range idx {
		idx[k] = k * set.Len() / n
	}
	picked, err := set.Pick(idx)
	if err != nil { // of a set that contradicts itself, which every use of it reports
		return set.Head(n)
	}
	return picked
}

// First returns [Some] n images of a set as one batch.
func (i Images) First(set *data.Set, n int) (models.Batch, error) {
	some := Some(set, n)
	idx := make([]int, some.Len())
	for k := range idx {
		idx[k] = k
	}
	return i.Pick(some, idx)
}

// Pick returns the images idx of a set as one batch.
func (i Images) Pick(set *data.Set, idx []int) (models.Batch, error) {
	return Feeder{Set: set, Norm: i.Norm}.batchOf(idx, nil)
}

// A Feeder makes the batches of a training from its step alone, so that a run
// resumes exactly.
type Feeder struct {
	Set     *data.Set
	Norm    data.Norm
	Augment data.Augment
	data.Sampler
	among []int // images that Sampler draws from; nil means all
}

// Feed returns training batches, cropped and mirrored at random.
func (i Images) Feed(batch int, seed uint64) Feeder {
	return Feeder{Set: i.Train, Norm: i.Norm, Augment: data.Augment{Pad: 4, Flip: 0.5}, Sampler: data.Sampler{N: i.Train.Len(), Batch: batch, Seed: seed}}
}

// Among returns batches of the images idx alone, smaller ones where there are
// few; nil means all images.
func (f Feeder) Among(idx []int) Feeder {
	if idx != nil {
		f.among, f.N, f.Sampler.Batch = idx, len(idx), min(f.Sampler.Batch, len(idx))
	}
	return f
}

// Batch returns the batch of a step.
func (f Feeder) Batch(step int) (models.Batch, error) {
	if f.StepsPerEpoch() == 0 {
		return nil, fmt.Errorf("%d images are less than a batch of %d", f.N, f.Sampler.Batch)
	}
	idx := f.Indices(step)
	if f.among != nil {
		for k, i := range idx {
			idx[k] = f.among[i]
		}
	}
	return f.batchOf(idx, rand.New(rand.NewPCG(f.Seed, uint64(step))))
}

// Mixed returns the batch of a step without labels, each image laid over another
// at a share of its own (Zhang et al., "mixup", ICLR 2018).
func (f Feeder) Mixed(step int) (models.Batch, error) {
	a, err := f.Batch(2 * step)
	if err != nil {
		return nil, err
	}
	b, err := f.Batch(2*step + 1)
	if err != nil {
		return nil, err
	}
	rng, x, y := rand.New(rand.NewPCG(f.Seed, ^uint64(step))), a["pixel_values"].Floats, b["pixel_values"].Floats
	for from, size := 0, len(x)/a.Len(); from < len(x); from += size {
		share := rng.Float32()
		for i := from; i < from+size; i++ {
			x[i] = share*x[i] + (1-share)*y[i]
		}
	}
	delete(a, models.Labels)
	return a, nil
}

// processor is the preprocessor_config.json of networks that are trained on the
// images.
func (i Images) processor() ([]byte, error) {
	return json.MarshalIndent(data.ImageProcessor{Size: data.Size{H: i.Train.H, W: i.Train.W}, Norm: i.Norm}, "", "  ")
}

// pixels is the input of networks on images.
const pixels = "pixel_values"

// Side returns the height in pixels of the images that m reads, 0 where it reads
// none.
func Side(m *models.Model) int {
	in, ok := m.Input(pixels)
	if !ok {
		return 0
	}
	return in.Shape[1]
}

// Normalise takes over how the parents' images were normalised, and checks that
// the parents fit the images.
func (i *Images) Normalise(parents []*models.Model) error {
	for k, m := range parents {
		in, ok := m.Input(pixels)
		if !ok {
			return fmt.Errorf("parent %d is a %s, which reads no images", k, m.Arch.Class)
		}
		if !slices.Equal(in.Shape, []int{i.Train.C, i.Train.H, i.Train.W}) || m.Classes() != len(i.Train.Classes) {
			return fmt.Errorf("parent %d reads %d×%d images of %d classes, %s has %d×%d and %d", k, in.Shape[1], in.Shape[2], m.Classes(),
				i.Label, i.Train.H, i.Train.W, len(i.Train.Classes))
		}
		text, ok := m.Files[data.ProcessorFile]
		if !ok {
			continue
		}
		var p data.ImageProcessor
		if err := json.Unmarshal(text, &p); err != nil {
			return fmt.Errorf("parent %d: %w", k, err)
		}
		if k > 0 && p.Norm != i.Norm {
			return fmt.Errorf("parents 0 and %d were trained on differently normalised images", k)
		}
		i.Norm = p.Norm
	}
	return nil
}
