package models_test

import (
	"maps"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// spec is a configuration of one network that is given as it is.
type spec models.Spec

func (s spec) Spec() (models.Spec, error) { return models.Spec(s), nil }

// own returns a model of an architecture that package models does not know.
func own(t *testing.T, s models.Spec) *models.Model {
	m, err := models.Fresh(models.Architecture{Class: "Own"}, spec(s), 1, 0.5)
	require.NoError(t, err)
	return m
}

// classifier is a network on images of 16×16 pixels in patches of 4×4.
func classifier(t *testing.T, positions int) *graph.Graph {
	var b graph.Builder
	x := b.Linear("patches", b.Input("image"), 8, graph.Conv(1, 4))
	if positions > 0 {
		x = b.Add("sum", b.Prepend("tokens", x, b.Table("token", 8, 1)), b.Table("positions", 8, positions))
	}
	g, err := b.Output(b.Linear("head", b.Select("first", x), 5))
	require.NoError(t, err)
	return g
}

// TestOwnImages: an architecture that declares no inputs reads images of the
// channels of its projection and the size that its positions or its layout tell,
// and labels below its logits.
func TestOwnImages(t *testing.T) {
	image := func(h, w int) models.Array {
		return models.Array{Shape: []int{2, 1, h, w}, Floats: make([]float32, 2*h*w)}
	}
	for name, m := range map[string]*models.Model{
		"positions": own(t, models.Spec{Graph: classifier(t, 17)}),
		"layout":    own(t, models.Spec{Graph: classifier(t, 0), Layout: align.Layout{Rows: 4, Cols: 4}}),
	} {
		require.Equal(t, []models.Input{{Name: "image", Shape: []int{1, 16, 16}, Step: 4}}, m.Inputs, name)
		for _, size := range [][2]int{{8, 8}, {4, 4}, {8, 32}, {17, 16}} {
			_, err := m.Complete(models.Batch{"image": image(size[0], size[1])})
			require.ErrorContains(t, err, "[N 1 16 16] of floats", name)
		}
		for label, says := range map[int32]string{9: "label 1 is 9, want 0 to 4", -7: "label 1 is -7", 5: "label 1 is 5"} {
			labels := models.Array{Shape: []int{2}, Ints: []int32{0, label}}
			_, err := m.Complete(models.Batch{"image": image(16, 16), models.Labels: labels})
			require.ErrorContains(t, err, says, name)
		}
		labels := models.Array{Shape: []int{2}, Ints: []int32{4, models.Ignore}}
		_, err := m.Complete(models.Batch{"image": image(16, 16), models.Labels: labels})
		require.NoError(t, err, name)
	}
	free := own(t, models.Spec{Graph: classifier(t, 0)})
	_, err := free.Complete(models.Batch{"image": image(8, 32)})
	require.NoError(t, err, "nothing tells the size")
	_, err = free.Complete(models.Batch{"image": image(8, 30)})
	require.ErrorContains(t, err, "[N 1 T T] of floats with T a multiple of 4")
	oblong := own(t, models.Spec{Graph: classifier(t, 13)})
	_, err = oblong.Complete(models.Batch{"image": image(12, 16)})
	require.NoError(t, err, "twelve patches may lie in several ways")
}

// TestOwnTexts: ids are below the rows of their table and no more than there are
// positions, masks have an entry for every id.
func TestOwnTexts(t *testing.T) {
	m := model(t, modeltest.Words())
	require.Equal(t, []models.Input{
		{Name: "input_ids", Shape: []int{models.Any}, Longest: 7, Below: 11},
		{Name: "token_type_ids", Shape: []int{models.Any}, Longest: 7, Below: 2, Like: "input_ids"},
		{Name: "attention_mask", Shape: []int{models.Any}, Longest: 7, Below: 2, Like: "input_ids"},
	}, m.Inputs)
	batch := modeltest.Words().Batch(3, 1)
	_, err := m.Complete(batch)
	require.NoError(t, err)
	ints := func(v int32, tokens int) models.Array {
		return models.Filled(v)(models.Array{Shape: []int{3, tokens}, Ints: make([]int32, 3*tokens)})
	}
	for says, c := range map[string]struct {
		key   string
		array models.Array
	}{
		"input_ids is 11":     {"input_ids", ints(11, 5)},
		"T at most 7":         {"input_ids", ints(1, 8)},
		"token_type_ids is 2": {"token_type_ids", ints(2, 5)},
		"attention_mask has shape [3 4], want [N 5]": {"attention_mask", ints(1, 4)},
		"label 0 is 11":                      {models.Labels, ints(11, 5)},
		"labels has shape [3 4], want [N 5]": {models.Labels, ints(1, 4)},
		"labels has shape [3 5] of floats": {models.Labels,
			models.Array{Shape: []int{3, 5}, Floats: make([]float32, 15)}},
		"token_type_ids has shape [3 5] of floats": {"token_type_ids",
			models.Array{Shape: []int{3, 5}, Floats: make([]float32, 15)}},
	} {
		wrong := maps.Clone(batch)
		wrong[c.key] = c.array
		_, err := m.Complete(wrong)
		require.ErrorContains(t, err, says)
	}
	delete(batch, "token_type_ids")
	_, err = m.Complete(batch)
	require.ErrorContains(t, err, "the batch has no token_type_ids")
}

// TestNumbersThatAreNot: a pixel that is NaN or infinite is named.
func TestNumbersThatAreNot(t *testing.T) {
	m := model(t, modeltest.ViT())
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		batch := modeltest.ViT().Batch(2, 1)
		batch["pixel_values"].Floats[7] = float32(bad)
		_, err := m.Complete(batch)
		require.ErrorContains(t, err, "pixel_values is")
		require.ErrorContains(t, err, "at position 7")
	}
}

// TestInputsThatDoNotFit: what a Spec declares is what its graph reads.
func TestInputsThatDoNotFit(t *testing.T) {
	g := classifier(t, 17)
	for says, s := range map[string]models.Spec{
		"no Graph":       {},
		"has no Graph":   {Graph: &graph.Graph{}},
		`"pixels" is de`: {Graph: g, Inputs: []models.Input{{Name: "pixels"}}},
		"declared twice": {Graph: g, Inputs: []models.Input{{Name: "image"}, {Name: "image"}}},
		`like "mask"`:    {Graph: g, Inputs: []models.Input{{Name: "image", Like: "mask"}}},
		`like "image"`:   {Graph: g, Inputs: []models.Input{{Name: "image", Like: "image"}}},
		"is below 12":    {Graph: model(t, modeltest.Words()).Graph, Inputs: []models.Input{{Name: "input_ids", Below: 12}}},
		"is below 0":     {Graph: model(t, modeltest.Words()).Graph, Inputs: []models.Input{{Name: "attention_mask"}}},
	} {
		_, err := models.Fresh(models.Architecture{Class: "Own"}, spec(s), 1, 0.5)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "models: Own: ")
	}
	_, err := models.Fresh(models.Architecture{Class: "Own"}, nil, 1, 0.5)
	require.ErrorContains(t, err, "no Config")
	declared := own(t, models.Spec{Graph: g, Inputs: []models.Input{{Name: "image", Shape: []int{1, models.Any, 16},
		Longest: 32}}})
	_, err = declared.Complete(models.Batch{"image": {Shape: []int{1, 1, 32, 16}, Floats: make([]float32, 512)}})
	require.NoError(t, err, "what is declared holds, whatever the graph tells")
}

// TestDims: the graph shows the sizes that the configuration asks for.
func TestDims(t *testing.T) {
	for _, net := range modeltest.Nets() {
		m := model(t, net)
		require.Equal(t, models.Dims{Depth: 2, Width: 8, Heads: net.Config.Heads, MLP: 12}, m.Dims(), net.Arch.Class)
	}
	require.Equal(t, 3, model(t, modeltest.ViT()).Classes())
	require.Equal(t, 11, model(t, modeltest.MaskedLM()).Classes())
}
