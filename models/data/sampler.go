package data

import (
	"math/rand/v2"

	"github.com/otfuse/otfuse/internal/dataset/random"
)

// Sampler says which of N samples make up each training step, Batch of them at a
// time. Every epoch is a new permutation that is drawn from Seed; the samples left
// over at its end are dropped.
//
// It has no state: the samples of a step follow from (Seed, step) alone, on every
// machine, so training resumes exactly where it stopped.
type Sampler struct {
	N, Batch int
	Seed     uint64
}

// StepsPerEpoch returns the number of steps of one epoch, ⌊N/Batch⌋; 0 where Batch
// is not between 1 and N.
func (s Sampler) StepsPerEpoch() int {
	if s.Batch < 1 {
		return 0
	}
	return max(s.N, 0) / s.Batch
}

// Indices returns the samples [Batch] of training step step ≥ 0. It returns
// nil for a negative step, and for every step where [Sampler.StepsPerEpoch] is 0.
func (s Sampler) Indices(step int) []int {
	per := s.StepsPerEpoch()
	if step < 0 || per == 0 {
		return nil
	}
	from := step % per * s.Batch
	to := from + s.Batch
	perm := s.permutation(step/per, to)
	return perm[from:to:to]
}

// permutation returns the permutation of an epoch, of which only the first n
// entries are final. Drawing from the front (Fisher–Yates) makes them final first.
func (s Sampler) permutation(epoch, n int) []int {
	perm := make([]int, s.N)
	for i := range perm {
		perm[i] = i
	}
	rng := rand.NewPCG(random.Mix(s.Seed), random.Mix(^uint64(epoch)))
	for i := range n {
		j := i + random.Below(rng, s.N-i)
		perm[i], perm[j] = perm[j], perm[i]
	}
	return perm
}
