package lab

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
)

// TestMixed: a mixed batch depends on its step alone, has no labels, and every
// image of it lies between two of the set, at a share of its own.
func TestMixed(t *testing.T) {
	const n, pixels = 8, 3 * 2 * 2
	set := &data.Set{C: 3, H: 2, W: 2, Classes: []string{"a"}, Labels: make([]int32, n), Pixels: make([]byte, n*pixels)}
	for i := range set.Pixels {
		set.Pixels[i] = byte(255 * (i / pixels % 2)) // black and white in turn
	}
	s := sampler{set: set, norm: data.Norm{Std: [3]float32{1, 1, 1}}, Sampler: data.Sampler{N: n, Batch: n, Seed: 3}}
	mixed := Batches{s.at, 1}.mixedPairs(3)
	grey := map[float32]bool{}
	for step := range 4 {
		b, err := mixed.At(step)
		require.NoError(t, err)
		again, err := mixed.At(step)
		require.NoError(t, err)
		require.Equal(t, b, again)
		require.NotContains(t, b, models.Labels)
		require.Equal(t, []int{n, 3, 2, 2}, b["pixel_values"].Shape)
		for i, v := range b["pixel_values"].Floats {
			require.InDelta(t, 0.5, v, 0.5+1e-6)
			require.InDelta(t, b["pixel_values"].Floats[i/pixels*pixels], v, 1e-6, "one share for an image")
			grey[v] = grey[v] || v > 0.01 && v < 0.99
		}
	}
	shades := 0
	for _, g := range grey {
		if g {
			shades++
		}
	}
	require.Greater(t, shades, n, "hardly an image was mixed")
	s.Batch = n + 1
	mixed = Batches{s.at, 0}.mixedPairs(3)
	_, err := mixed.At(0)
	require.Error(t, err)
}
