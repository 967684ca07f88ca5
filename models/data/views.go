package data

import (
	"fmt"
	"maps"
	"math/rand/v2"

	"github.com/otfuse/otfuse/models"
)

// Views makes of a few samples batches that do not run out, for training without
// labels: images are cropped and mirrored at random and laid over each other, see
// [Mixup], so that hardly two are alike. Samples of other kinds come as they are, in
// a new order in each pass.
type Views struct {
	Samples models.Batch
	Size    int // samples of a batch; all of them where there are fewer
	Seed    uint64
}

// Batch returns the batch of a step ≥ 0, which follows from the fields and the step
// alone. Images come without labels: there is none for a mixture.
func (v Views) Batch(step int) (models.Batch, error) {
	if v.Samples.Len() == 0 || v.Size < 1 || step < 0 {
		return nil, fmt.Errorf("data: step %d of views of %d samples, %d at a time", step, v.Samples.Len(), v.Size)
	}
	for _, a := range v.Samples {
		if len(a.Floats) > 0 && len(a.Shape) == 4 {
			return Mixup(v.augmented, v.Seed)(step)
		}
	}
	return v.picked(step), nil
}

// picked are the samples of a step as they are.
func (v Views) picked(step int) models.Batch {
	s := Sampler{N: v.Samples.Len(), Batch: min(v.Size, v.Samples.Len()), Seed: v.Seed}
	return v.Samples.Pick(s.Indices(step))
}

// augmented are the samples of a step, cropped and mirrored.
func (v Views) augmented(step int) (models.Batch, error) {
	out, rng := v.picked(step), rand.New(rand.NewPCG(v.Seed, uint64(step)))
	for _, a := range out {
		if len(a.Floats) == 0 || len(a.Shape) != 4 {
			continue
		}
		n, c, h, w := a.Shape[0], a.Shape[1], a.Shape[2], a.Shape[3]
		augment := Augment{Pad: max(h, w) / 8, Flip: 0.5}
		image := make([]float32, c*h*w)
		for i := range n {
			from := a.Floats[i*c*h*w : (i+1)*c*h*w]
			copy(image, from)
			augment.drawView(rng).show(from, image, [3]int{c, h, w})
		}
	}
	return out, nil
}

// show writes a view of an image [c, h, w] of floats; what lies outside is 0.
func (v view) show(dst, src []float32, size [3]int) {
	clear(dst)
	for c := range size[0] {
		for y := range size[1] {
			in := y + v.dy
			if in < 0 || in >= size[1] {
				continue
			}
			row := dst[(c*size[1]+y)*size[2]:][:size[2]]
			for x := range row {
				if from := x + v.dx; from >= 0 && from < size[2] {
					row[x] = src[(c*size[1]+in)*size[2]+from]
				}
			}
			if v.flip != 0 {
				mirrorRow(row)
			}
		}
	}
}

// Mixup returns batches in which each sample is laid over another, the batch of step
// 2s over that of step 2s + 1:
//
//	x ← λ x + (1 − λ) x',   λ ~ U(0, 1) for each sample,
//
// for every array of floats. They have no labels, as nobody knows those of a mixture;
// arrays of integers stay as they are. Batches must have equally many samples.
//
// Zhang et al., "mixup: beyond empirical risk minimization" (ICLR 2018).
func Mixup(batches func(step int) (models.Batch, error), seed uint64) func(step int) (models.Batch, error) {
	return func(step int) (models.Batch, error) {
		first, err := batches(2 * step)
		if err != nil {
			return nil, err
		}
		second, err := batches(2*step + 1)
		if err != nil {
			return nil, err
		}
		out, rng := maps.Clone(first), rand.New(rand.NewPCG(seed, ^uint64(step)))
		delete(out, models.Labels)
		shares := make([]float32, first.Len())
		for i := range shares {
			shares[i] = rng.Float32()
		}
		for name, a := range out {
			x, y := a.Floats, second[name].Floats
			if len(x) != len(y) {
				return nil, fmt.Errorf("data: mixup: %s of steps %d and %d has %d and %d values", name, 2*step, 2*step+1,
					len(x), len(y))
			}
			mixed := make([]float32, len(x))
			for i := range x {
				share := shares[i/(len(x)/len(shares))]
				mixed[i] = share*x[i] + (1-share)*y[i]
			}
			if x != nil {
				out[name] = models.Array{Shape: a.Shape, Floats: mixed}
			}
		}
		return out, nil
	}
}
