package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
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
	for _, bounds := range [][2]int{{-1, 4}, {-7, 99}} {
		require.Equal(t, b, b.Slice(bounds[0], bounds[1]), "bounds outside are moved to the ends")
	}
	for _, bounds := range [][2]int{{2, 1}, {4, 9}, {-3, -2}} {
		require.Zero(t, b.Slice(bounds[0], bounds[1]).Len())
		require.NoError(t, b.Slice(bounds[0], bounds[1]).Check())
	}
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

// completing returns what a model of net has to say against a batch.
func completing(t *testing.T, net modeltest.Net) func(models.Batch) error {
	m := model(t, net)
	return func(b models.Batch) error {
		_, err := m.Complete(b)
		return err
	}
}

// TestImages: a batch that does not fit the network is told what would.
func TestImages(t *testing.T) {
	net := modeltest.ViT()
	complete := completing(t, net)
	require.NoError(t, complete(net.Batch(4, 1)))
	unlabelled := net.Batch(4, 1)
	delete(unlabelled, models.Labels)
	require.NoError(t, complete(unlabelled))
	ignored := net.Batch(2, 1)
	ignored[models.Labels] = models.Array{Shape: []int{2}, Ints: []int32{models.Ignore, 2}}
	require.NoError(t, complete(ignored))
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
		"class":    {func(b models.Batch) { b[models.Labels].Ints[1] = 3 }, "label 1 is 3, want 0 to 2"},
		"negative": {func(b models.Batch) { b[models.Labels].Ints[0] = -1 }, "label 0 is -1"},
		"float labels": {func(b models.Batch) {
			b[models.Labels] = models.Array{Shape: []int{2},
				Floats: make([]float32, 2)}
		}, "labels"},
		"label shape": {func(b models.Batch) { b[models.Labels] = models.Array{Shape: []int{2, 1}, Ints: make([]int32, 2)} },
			"labels"},
		"label count": {func(b models.Batch) { b[models.Labels] = models.Array{Shape: []int{1}, Ints: make([]int32, 1)} },
			"labels"},
	} {
		b := net.Batch(2, 1)
		c.change(b)
		require.ErrorContains(t, complete(b), c.says, name)
	}
}

// TestTexts: masks and token types have defaults, and whatever is given fits
// the ids in shape and the configuration in value.
func TestTexts(t *testing.T) {
	for _, net := range []modeltest.Net{modeltest.MaskedLM(), modeltest.Classifier()} {
		complete := completing(t, net)
		require.NoError(t, complete(net.Batch(3, 1)))
		given := models.Batch{"input_ids": net.Batch(3, 1)["input_ids"]}
		bare, err := model(t, net).Complete(given)
		require.NoError(t, err)
		require.Len(t, given, 1, "what was given stays as it is")
		require.Equal(t, models.Array{Shape: []int{3, 5}, Ints: make([]int32, 15)}, bare["token_type_ids"])
		require.Equal(t, []int{3, 5}, bare["attention_mask"].Shape)
		require.NotContains(t, bare["attention_mask"].Ints, int32(0))
		ints := func(v int32, shape ...int) models.Array {
			a := models.Array{Shape: shape}
			for range shape[0] * shape[len(shape)-1] {
				a.Ints = append(a.Ints, v)
			}
			return a
		}
		for name, c := range map[string]struct {
			key   string
			array models.Array
			says  string
		}{
			"rank":         {"input_ids", ints(0, 3), "input_ids has shape"},
			"too long":     {"input_ids", ints(0, 3, 8), "at most 7"},
			"floats":       {"input_ids", models.Array{Shape: []int{3, 5}, Floats: make([]float32, 15)}, "integers"},
			"word":         {"input_ids", ints(11, 3, 5), "input_ids is 11"},
			"negative":     {"input_ids", ints(-1, 3, 5), "input_ids is -1"},
			"type":         {"token_type_ids", ints(2, 3, 5), "token_type_ids is 2"},
			"type shape":   {"token_type_ids", ints(0, 3, 1), "token_type_ids has shape"},
			"float types":  {"token_type_ids", models.Array{Shape: []int{3, 5}, Floats: make([]float32, 15)}, "integers"},
			"mask":         {"attention_mask", ints(2, 3, 5), "attention_mask is 2"},
			"mask shape":   {"attention_mask", ints(1, 3, 4), "attention_mask has shape"},
			"labels":       {models.Labels, ints(0, 2, 5), "labels has shape"},
			"label":        {models.Labels, ints(11, net.Batch(3, 1)[models.Labels].Shape...), "label 0 is 11"},
			"float labels": {models.Labels, models.Array{Shape: []int{3, 5}, Floats: make([]float32, 15)}, "labels"},
		} {
			b := net.Batch(3, 1)
			b[c.key] = c.array
			if name == "label" && len(c.array.Shape) == 1 {
				b[c.key] = models.Array{Shape: []int{3}, Ints: []int32{11, 11, 11}}
			}
			require.ErrorContains(t, complete(b), c.says, "%s of %s", name, net.Arch.Class)
		}
		delete(bare, "input_ids")
		require.ErrorContains(t, complete(bare), "input_ids")
	}
}
