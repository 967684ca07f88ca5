package data

import (
	"math/bits"
	"math/rand/v2"
)

// Order is the order in which training visits a set of N samples in steps of
// Batch: every epoch is a fresh permutation drawn from Seed, and the samples
// left over at its end are dropped.
//
// It is a value without state: the samples of a step follow from (Seed, step)
// alone, on every machine, so training resumes exactly where it stopped.
type Order struct {
	N, Batch int
	Seed     uint64
}

// PerEpoch returns the number of steps of one epoch, ⌊N/Batch⌋; 0 where Batch
// is not between 1 and N.
func (o Order) PerEpoch() int {
	if o.Batch < 1 {
		return 0
	}
	return max(o.N, 0) / o.Batch
}

// Indices returns the samples [Batch] of training step step ≥ 0. It returns
// nil for a negative step, and for every step where [Order.PerEpoch] is 0.
func (o Order) Indices(step int) []int {
	per := o.PerEpoch()
	if step < 0 || per == 0 {
		return nil
	}
	from := step % per * o.Batch
	to := from + o.Batch
	perm := o.epoch(step/per, to)
	return perm[from:to:to]
}

// epoch is the permutation of an epoch, of which the first n entries are
// final. Drawing from the front (Fisher–Yates) settles them first.
func (o Order) epoch(epoch, n int) []int {
	perm := make([]int, o.N)
	for i := range perm {
		perm[i] = i
	}
	rng := rand.NewPCG(mix(o.Seed), mix(^uint64(epoch)))
	for i := range n {
		j := i + below(rng, o.N-i)
		perm[i], perm[j] = perm[j], perm[i]
	}
	return perm
}

// below returns an integer of [0, n), with a bias under n/2⁶⁴.
func below(rng *rand.PCG, n int) int {
	hi, _ := bits.Mul64(rng.Uint64(), uint64(n))
	return int(hi)
}

// mix scatters neighbouring seeds over all 64 bits (the finaliser of
// SplitMix64), so that their streams have nothing in common.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
