package data

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

// images are n images of one colour each, 1 to n, with labels.
func images(n int) models.Batch {
	x := models.Array{Shape: []int{n, 2, 8, 8}}
	y := models.Array{Shape: []int{n}}
	for i := range n {
		for range 2 * 8 * 8 {
			x.Floats = append(x.Floats, float32(i+1))
		}
		y.Ints = append(y.Ints, int32(i))
	}
	return models.Batch{"pixel_values": x, models.Labels: y}
}

// TestViews: batches follow from the step alone, mix two images at one share, differ
// from step to step and leave the samples as they were.
func TestViews(t *testing.T) {
	v := Views{Samples: images(6), Size: 4, Seed: 3}
	first, err := v.Batch(0)
	require.NoError(t, err)
	require.Equal(t, []int{4, 2, 8, 8}, first["pixel_values"].Shape)
	require.NotContains(t, first, models.Labels)
	later, err := v.Batch(7)
	require.NoError(t, err)
	require.NotEqual(t, first, later)
	again, err := v.Batch(0)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Equal(t, images(6), v.Samples)

	few, err := Views{Samples: images(3), Size: 100}.Batch(1)
	require.NoError(t, err)
	require.Equal(t, 3, few.Len())
	for _, bad := range []Views{{Size: 1}, {Samples: images(2)}} {
		_, err := bad.Batch(0)
		require.Error(t, err)
	}
}

// TestViewsOfText: ids are not mixed and keep their labels; every pass has all.
func TestViewsOfText(t *testing.T) {
	ids := models.Batch{"input_ids": {Shape: []int{4, 1}, Ints: []int32{5, 6, 7, 8}},
		models.Labels: {Shape: []int{4, 1}, Ints: []int32{1, models.Ignore, 3, 4}}}
	v := Views{Samples: ids, Size: 2, Seed: 1}
	seen := map[int32]int32{}
	for step := range 2 {
		b, err := v.Batch(step)
		require.NoError(t, err)
		for i, id := range b["input_ids"].Ints {
			seen[id] = b[models.Labels].Ints[i]
		}
	}
	require.Equal(t, map[int32]int32{5: 1, 6: models.Ignore, 7: 3, 8: 4}, seen)
}

// TestShow: a view of floats is that of [Set.Fill] of bytes.
func TestShow(t *testing.T) {
	set := &Set{C: 1, H: 3, W: 4, Classes: []string{"a"}, Labels: []int32{0},
		Pixels: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}
	n := Norm{Std: [3]float32{1. / 255, 1. / 255, 1. / 255}}
	lut, err := n.byteTable(1)
	require.NoError(t, err)
	src := make([]float32, 12)
	for i, p := range set.Pixels {
		src[i] = lut[0][p]
	}
	for dy := -3; dy <= 3; dy++ {
		for dx := -4; dx <= 4; dx++ {
			for flip := range 2 {
				v := view{dy, dx, flip}
				want, got := make([]float32, 12), make([]float32, 12)
				set.fillOne(want, set.Pixels, lut, v)
				v.show(got, src, [3]int{1, 3, 4})
				require.Equal(t, want, got, v)
			}
		}
	}
}

// TestMixup: every value is the mixture of two at the share of its sample.
func TestMixup(t *testing.T) {
	at := func(step int) (models.Batch, error) { return images(6).Slice(step, step+2), nil }
	b, err := Mixup(at, 1)(1)
	require.NoError(t, err)
	x := b["pixel_values"].Floats
	for i := range 2 { // of colours 3 and 4, 4 and 5
		require.GreaterOrEqual(t, x[i*128], float32(3+i))
		require.LessOrEqual(t, x[i*128], float32(4+i))
		for _, v := range x[i*128 : (i+1)*128] {
			require.InDelta(t, x[i*128], v, 1e-6)
		}
	}
	require.NotEqual(t, x[0]-3, x[128]-4)
	_, err = Mixup(func(step int) (models.Batch, error) { return images(1 + step), nil }, 1)(0)
	require.ErrorContains(t, err, "data: mixup: pixel_values")
}
