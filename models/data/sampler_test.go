package data

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSamplerVisitsEverySampleOnce(t *testing.T) {
	for _, o := range []Sampler{
		{N: 50, Batch: 5, Seed: 1}, {N: 47, Batch: 10, Seed: 2}, {N: 1, Batch: 1}, {N: 8, Batch: 8, Seed: math.MaxUint64},
	} {
		var previous []int
		for epoch := range 4 {
			var seen []int
			for k := range o.StepsPerEpoch() {
				seen = append(seen, o.Indices(epoch*o.StepsPerEpoch()+k)...)
			}
			if o.N > 1 {
				assert.NotEqual(t, previous, seen, "%v: two epochs in the same order", o)
			}
			previous = slices.Clone(seen)
			slices.Sort(seen)
			assert.Len(t, slices.Compact(seen), o.N-o.N%o.Batch, "%v", o)
			assert.GreaterOrEqual(t, seen[0], 0)
			assert.Less(t, seen[len(seen)-1], o.N)
		}
	}
}

func TestSamplerIsRandomAccess(t *testing.T) {
	o := Sampler{N: 1000, Batch: 32, Seed: 9}
	var forward [][]int
	for step := range 100 {
		forward = append(forward, o.Indices(step))
	}
	for step := 99; step >= 0; step-- {
		assert.Equal(t, forward[step], Sampler{N: 1000, Batch: 32, Seed: 9}.Indices(step))
	}
	assert.NotEqual(t, forward[0], Sampler{N: 1000, Batch: 32, Seed: 10}.Indices(0))
}

// The order is part of what makes a run repeatable: it must not change from
// one version to the next.
func TestSamplerIsPinned(t *testing.T) {
	o := Sampler{N: 50000, Batch: 6, Seed: 42}
	assert.Equal(t, []int{2079, 16017, 2146, 36801, 34732, 25515}, o.Indices(0))
	assert.Equal(t, []int{48726, 18873, 39297, 17704, 49520, 32532}, o.Indices(1_000_000))
}

func TestSamplerIsUniform(t *testing.T) {
	const n, rounds = 6, 60000
	var counts [n][n]int
	o := Sampler{N: n, Batch: n, Seed: 5}
	for step := range rounds {
		for place, i := range o.Indices(step) {
			counts[place][i]++
		}
	}
	for place := range n {
		for i := range n {
			assert.InDelta(t, rounds/n, counts[place][i], 500, "sample %d at place %d", i, place)
		}
	}
}

func TestSamplerOfNothing(t *testing.T) {
	for _, o := range []Sampler{{}, {N: 5}, {N: 5, Batch: -1}, {N: 5, Batch: 6}, {N: -5, Batch: 1}} {
		assert.Zero(t, o.StepsPerEpoch(), "%v", o)
		assert.Nil(t, o.Indices(0), "%v", o)
	}
	assert.Nil(t, Sampler{N: 5, Batch: 1}.Indices(-1))
}
