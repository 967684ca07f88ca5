package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/netest"
	"github.com/otfuse/otfuse/models"
)

func three() models.Batch {
	return models.Batch{
		"x":           {Shape: []int{3, 2}, Floats: []float32{1, 2, 3, 4, 5, 6}},
		"ids":         {Shape: []int{3}, Ints: []int32{7, 8, 9}},
		models.Labels: {Shape: []int{3, 2}, Ints: []int32{0, 1, 2, 3, 4, 5}},
	}
}

func TestBatchSlice(t *testing.T) {
	b := three()
	require.NoError(t, b.Check())
	require.Equal(t, 3, b.Len())
	require.Equal(t, models.Batch{
		"x":           {Shape: []int{2, 2}, Floats: []float32{3, 4, 5, 6}},
		"ids":         {Shape: []int{2}, Ints: []int32{8, 9}},
		models.Labels: {Shape: []int{2, 2}, Ints: []int32{2, 3, 4, 5}},
	}, b.Slice(1, 3))
	empty := b.Slice(2, 2)
	require.NoError(t, empty.Check())
	require.Zero(t, empty.Len())
	require.Equal(t, three(), b, "the batch is as it was")
}

// TestBatchPad: copies of the last sample fill up, their labels do not count.
func TestBatchPad(t *testing.T) {
	b := three()
	require.Equal(t, models.Batch{
		"x":           {Shape: []int{5, 2}, Floats: []float32{1, 2, 3, 4, 5, 6, 5, 6, 5, 6}},
		"ids":         {Shape: []int{5}, Ints: []int32{7, 8, 9, 9, 9}},
		models.Labels: {Shape: []int{5, 2}, Ints: []int32{0, 1, 2, 3, 4, 5, -100, -100, -100, -100}},
	}, b.Pad(5))
	require.Equal(t, b, b.Pad(3))
	require.Equal(t, b, b.Pad(2))
	require.Equal(t, three(), b)
	tail := b.Slice(0, 2) // shares its data: padding must not write into the third sample
	require.NoError(t, tail.Pad(4).Check())
	require.Equal(t, three(), b)
	require.Empty(t, models.Batch{}.Pad(4))
}

func TestBatchPick(t *testing.T) {
	b := three()
	got := b.Pick([]int{2, 0, 2, 1})
	require.Equal(t, models.Batch{
		"x":           {Shape: []int{4, 2}, Floats: []float32{5, 6, 1, 2, 5, 6, 3, 4}},
		"ids":         {Shape: []int{4}, Ints: []int32{9, 7, 9, 8}},
		models.Labels: {Shape: []int{4, 2}, Ints: []int32{4, 5, 0, 1, 4, 5, 2, 3}},
	}, got)
	got["x"].Floats[0] = 100
	require.Equal(t, three(), b, "what is picked is a copy")
	none := b.Pick(nil)
	require.NoError(t, none.Check())
	require.Zero(t, none.Len())
	require.NotNil(t, none["x"].Floats, "floats stay floats")
}

// TestEmptyBatch: no samples are cut, filled up and picked like some.
func TestEmptyBatch(t *testing.T) {
	empty := models.Batch{"x": {Shape: []int{0, 2}, Floats: []float32{}}}
	require.NoError(t, empty.Check())
	require.Equal(t, empty, empty.Slice(0, 0))
	require.Equal(t, empty, empty.Pad(3))
	require.NoError(t, empty.Pick(nil).Check())
	require.Zero(t, models.Batch{}.Len())
	require.NoError(t, models.Batch{}.Check())
}

func TestBatchCheck(t *testing.T) {
	for name, b := range map[string]models.Batch{
		"too few":      {"x": {Shape: []int{3, 2}, Floats: make([]float32, 5)}},
		"too many":     {"x": {Shape: []int{3, 2}, Ints: make([]int32, 7)}},
		"no shape":     {"x": {Floats: make([]float32, 1)}},
		"negative":     {"x": {Shape: []int{-3, -2}, Floats: make([]float32, 6)}},
		"both kinds":   {"x": {Shape: []int{4}, Floats: make([]float32, 2), Ints: make([]int32, 2)}},
		"other length": {"x": {Shape: []int{3}, Ints: make([]int32, 3)}, "y": {Shape: []int{2}, Ints: make([]int32, 2)}},
		"overflow":     {"x": {Shape: []int{1 << 32, 1 << 32}, Floats: nil}},
	} {
		require.Error(t, b.Check(), name)
	}
}

// TestImages: a batch that does not fit the network is told what would.
func TestImages(t *testing.T) {
	net := netest.ViT()
	require.NoError(t, net.Arch.Complete(net.Config, net.Batch(4, 1)))
	unlabelled := net.Batch(4, 1)
	delete(unlabelled, models.Labels)
	require.NoError(t, net.Arch.Complete(net.Config, unlabelled))
	ignored := net.Batch(2, 1)
	ignored[models.Labels] = models.Array{Shape: []int{2}, Ints: []int32{models.Ignore, 2}}
	require.NoError(t, net.Arch.Complete(net.Config, ignored))
	for name, c := range map[string]struct {
		change func(models.Batch)
		says   string
	}{
		"none": {func(b models.Batch) { delete(b, "pixel_values") }, "pixel_values"},
		"size": {func(b models.Batch) {
			b["pixel_values"] = models.Array{Shape: []int{2, 3, 5, 6}, Floats: make([]float32, 180)}
		}, "[N 3 6 6]"},
		"rank": {func(b models.Batch) {
			b["pixel_values"] = models.Array{Shape: []int{2, 108}, Floats: make([]float32, 216)}
		}, "[N 3 6 6]"},
		"integers": {func(b models.Batch) {
			b["pixel_values"] = models.Array{Shape: []int{2, 3, 6, 6}, Ints: make([]int32, 216)}
		}, "floats"},
		"class":        {func(b models.Batch) { b[models.Labels].Ints[1] = 3 }, "label 1 is 3, want 0 to 2"},
		"negative":     {func(b models.Batch) { b[models.Labels].Ints[0] = -1 }, "label 0 is -1"},
		"float labels": {func(b models.Batch) { b[models.Labels] = models.Array{Shape: []int{2}, Floats: make([]float32, 2)} }, "labels"},
		"label shape":  {func(b models.Batch) { b[models.Labels] = models.Array{Shape: []int{2, 1}, Ints: make([]int32, 2)} }, "labels"},
		"label count":  {func(b models.Batch) { b[models.Labels] = models.Array{Shape: []int{1}, Ints: make([]int32, 1)} }, "samples"},
	} {
		b := net.Batch(2, 1)
		c.change(b)
		require.ErrorContains(t, net.Arch.Complete(net.Config, b), c.says, name)
	}
}
