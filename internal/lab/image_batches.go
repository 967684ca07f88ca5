package lab

import (
	"fmt"
	"math/rand/v2"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
)

// sampler makes batches of images from their step alone, so that a training
// resumes exactly.
type sampler struct {
	set     *data.Set
	norm    data.Norm
	augment data.Augment
	among   []int // images that the Sampler draws from; nil means all
	data.Sampler
}

// at returns the batch of a step.
func (s sampler) at(step int) (models.Batch, error) {
	if s.StepsPerEpoch() == 0 {
		return nil, fmt.Errorf("%d images are less than a batch of %d", s.N, s.Batch)
	}
	idx := s.Indices(step)
	if s.among != nil {
		for k, i := range idx {
			idx[k] = s.among[i]
		}
	}
	return s.batch(idx, rand.New(rand.NewPCG(s.Seed, uint64(step))))
}

// batch normalises images into a batch with labels.
func (s sampler) batch(idx []int, rng *rand.Rand) (models.Batch, error) {
	return s.set.Batch(idx, s.norm, s.augment, rng)
}

// mixedPairs returns batches without labels in which each image is laid over another
// at a share of its own, so that a few hundred images do not run out.
func (b Batches) mixedPairs(seed uint64) Batches {
	return Batches{data.Mixup(b.At, seed), b.PerEpoch / 2}
}
