package align_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
)

// TestStatisticsAdd: magnitudes add by their counts, in any grouping; statistics of no
// samples add nothing, and what answers other requests is refused.
func TestStatisticsAdd(t *testing.T) {
	of := func(count float64, mean ...float64) *align.Statistics {
		return &align.Statistics{Magnitudes: map[int][]float64{3: mean}, Counts: map[int]float64{3: count}}
	}
	a, b, c := of(1, 4, 0), of(3, 8, 2), of(4, 1, 1)
	sum := func(x, y *align.Statistics) *align.Statistics {
		z, err := x.Add(y)
		require.NoError(t, err)
		return z
	}
	assert.Equal(t, of(4, 7, 1.5), sum(a, b))
	assert.InDeltaSlice(t, sum(sum(a, b), c).Magnitudes[3], sum(a, sum(b, c)).Magnitudes[3], 1e-15)
	assert.Equal(t, a, sum(a, of(0, 0, 0)))
	for _, other := range []*align.Statistics{{}, of(1, 2), {Moments: []*align.Moments{{}},
		Magnitudes: map[int][]float64{3: {1, 2}}}} {
		_, err := a.Add(other)
		require.ErrorContains(t, err, "do not add")
	}
}
