package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// Images is the task of classifying the images of a data set.
type Images struct {
	Train, Test *data.Set
	Name        string    // as [dataset.Images] knows it
	Label       string    // what results on it must be called
	Norm        data.Norm // of pixels; that of the parents once they are accepted
}

// ImageSource says where images are from.
type ImageSource struct {
	Set  string // of [dataset.ImageNames], or "auto": CIFAR-10 where it can be had and shapes where it cannot
	Dir  string // looked in first
	Side int    // pixels that images of a folder are scaled to; 0 means 64
	Most int    // test images; 0 means all
}

// OpenImages opens a set of images.
func OpenImages(ctx context.Context, from ImageSource) (*Images, error) {
	name := from.Set
	if name == "auto" {
		name = "cifar10"
	}
	options := data.Options{Dir: from.Dir, Observe: cli.NoticeStages(name), Size: data.Size{H: from.Side, W: from.Side}}
	train, test, label, err := dataset.Images(ctx, name, options)
	if errors.Is(err, data.ErrUnavailable) && from.Set == "auto" && ctx.Err() == nil {
		cli.Notice(
			"CIFAR-10 is neither on this machine nor to be had from the network (%s); going on with shapes, a set drawn here",
			cli.OneLine(err))
		name = "shapes"
		train, test, label, err = dataset.Images(ctx, name, data.Options{})
		label += ", in place of CIFAR-10, which could not be had"
	}
	if err != nil {
		return nil, err
	}
	if train.Len() == 0 || test.Len() == 0 {
		return nil, fmt.Errorf("%s has %d training and %d test images, want at least 1 of each", label, train.Len(),
			test.Len())
	}
	i := &Images{Train: train, Test: test, Name: name, Label: label}
	if i.Norm, err = train.Norm(); err != nil || from.Most == 0 {
		return i, err
	}
	i.Test, err = test.Pick(representative(test, from.Most))
	return i, err
}

// Names implements [Task].
func (i *Images) Names() (name, label string) { return i.Name, i.Label }

// Unit implements [Task].
func (i *Images) Unit() string { return "images" }

// Size implements [Task].
func (i *Images) Size() int { return i.Train.Len() }

// Tests implements [Task].
func (i *Images) Tests() int { return i.Test.Len() }

// representative returns n images of a set, or all where there are fewer: the
// first, or, where a set comes class by class as folders do, ones spread evenly
// over it.
func representative(set *data.Set, n int) []int {
	n = min(n, set.Len())
	idx, sorted := make([]int, n), slices.IsSorted(set.Labels)
	for k := range idx {
		idx[k] = k
		if sorted {
			idx[k] = k * set.Len() / n
		}
	}
	return idx
}

// First implements [Task].
func (i *Images) First(n int) []int { return representative(i.Train, n) }

// Samples implements [Task].
func (i *Images) Samples(idx []int) (models.Batch, error) {
	return sampler{set: i.Train, norm: i.Norm}.batch(idx, nil)
}

// Batches implements [Task]: images are cropped and mirrored at random.
func (i *Images) Batches(idx []int, size int, seed uint64) Batches {
	s := sampler{set: i.Train, norm: i.Norm, augment: data.Augment{Pad: 4, Flip: 0.5}, among: idx,
		Sampler: data.Sampler{N: i.Train.Len(), Batch: size, Seed: seed}}
	if idx != nil {
		s.N, s.Batch = len(idx), min(size, len(idx))
	}
	return Batches{s.at, s.StepsPerEpoch()}
}

// The pixels of a batch that is scored, of 500 images of CIFAR, and of the images
// that are decoded ahead of that.
const (
	scorePixels  = 500 * 32 * 32
	decodePixels = 20 << 20
)

// scoreBatch is the number of test images scored at a time.
func (i *Images) scoreBatch() int { return max(scorePixels/(i.Test.H*i.Test.W), 1) }

// Quick implements [Task].
func (i *Images) Quick(n int) (models.Batch, int, error) {
	idx := representative(i.Test, min(n, 4*i.scoreBatch()))
	b, err := sampler{set: i.Test, norm: i.Norm}.batch(idx, nil)
	return b, i.scoreBatch(), err
}

// Score implements [Task]. Images are decoded portion by portion, the next one
// while one is scored.
func (i *Images) Score(ctx context.Context, d *gomlx.Device, ms ...*models.Model) (gomlx.Score, error) {
	portion := max(decodePixels/(i.Test.H*i.Test.W)/i.scoreBatch(), 1) * i.scoreBatch()
	return i.scorePortions(ctx, d, portion, ms)
}

// scorePortions is Score with so many images in a portion.
func (i *Images) scorePortions(ctx context.Context, d *gomlx.Device, portion int,
	ms []*models.Model) (gomlx.Score, error) {
	n := i.Test.Len()
	decode := data.Prefetch(1, func(step int) (models.Batch, error) {
		var idx []int
		for k := step * portion; k < min((step+1)*portion, n); k++ {
			idx = append(idx, k)
		}
		return sampler{set: i.Test, norm: i.Norm}.batch(idx, nil)
	})
	var sum gomlx.Score
	for step := range (n + portion - 1) / portion {
		b, err := decode(step)
		if err != nil {
			return gomlx.Score{}, err
		}
		s, err := d.Evaluate(ctx, b, i.scoreBatch(), ms...)
		if err != nil {
			return gomlx.Score{}, err
		}
		sum = sum.Add(s)
	}
	return sum, nil
}

// Network implements [Task].
func (i *Images) Network(n Net) (*models.Model, error) {
	if n.Class == "" {
		n.Class = models.ViT().Class
	}
	arch, err := models.Find([]string{n.Class}, models.ViT(), models.SimpleViT())
	if err != nil {
		return nil, err
	}
	m, err := models.Fresh(arch, i.config(n), n.Seed, n.initialStd())
	if err != nil {
		return nil, err
	}
	text, err := i.processor()
	m.Files = map[string][]byte{data.ProcessorFile: text}
	return m, err
}

// config is the network on these images.
func (i *Images) config(n Net) models.Config {
	labels, ids := map[string]string{}, map[string]int{}
	for k, name := range i.Train.Classes {
		labels[fmt.Sprint(k)] = name
		ids[name] = k
	}
	if n.Class == models.SimpleViT().Class {
		return models.SimpleViTConfig{Hidden: n.Width, Layers: n.Depth, Heads: n.Heads, MLP: 4 * n.Width,
			InitStd: n.initialStd(),
			Image:   i.Train.H, Patch: n.Patch, Channels: i.Train.C, Labels: labels, LabelIDs: ids, DType: "float32"}
	}
	return models.ViTConfig{Hidden: n.Width, Layers: n.Depth, Heads: n.Heads, MLP: 4 * n.Width, Act: "gelu", Eps: 1e-12,
		InitStd: n.initialStd(), Image: i.Train.H, Patch: n.Patch, Channels: i.Train.C, Labels: labels, LabelIDs: ids,
		DType: "float32"}
}

// processor is the preprocessor_config.json of networks that are trained on the
// images.
func (i *Images) processor() ([]byte, error) {
	return json.MarshalIndent(data.ImageProcessor{Size: data.Size{H: i.Train.H, W: i.Train.W}, Norm: i.Norm}, "", "  ")
}

// pixels is the input of networks on images.
const pixels = "pixel_values"

// ImageSide returns the height in pixels of the images that m reads, 0 where it
// reads none.
func ImageSide(m *models.Model) int {
	in, ok := m.Input(pixels)
	if !ok {
		return 0
	}
	return in.Shape[1]
}

// Accept implements [Task]: it takes over how the parents' images were normalised and
// in which order they have the classes.
func (i *Images) Accept(parents []*models.Model) error {
	for k, m := range parents {
		in, ok := m.Input(pixels)
		if !ok {
			return fmt.Errorf("parent %d is a %s, which reads no images", k, m.Arch.Class)
		}
		if !slices.Equal(in.Shape, []int{i.Train.C, i.Train.H, i.Train.W}) || m.Classes() != len(i.Train.Classes) {
			return fmt.Errorf("parent %d reads %d×%d images of %d classes, %s has %d×%d and %d", k, in.Shape[1], in.Shape[2],
				m.Classes(), i.Label, i.Train.H, i.Train.W, len(i.Train.Classes))
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
	return i.orderClasses(parents)
}
