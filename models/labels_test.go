package models_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// problem returns a classifier of texts with so many outputs that mean what problem_type
// says.
func problem(t *testing.T, kind string, outputs int) *models.Model {
	net := modeltest.Classifier()
	net.Config.Labels = map[string]string{}
	for i := range outputs {
		net.Config.Labels[string(rune('0'+i))] = string(rune('a' + i))
	}
	dir := saved(t, model(t, net))
	configure(t, dir, func(c map[string]any) {
		if kind != "" {
			c["problem_type"] = kind
		}
	})
	m, err := models.Open(dir)
	require.NoError(t, err)
	return m
}

// TestLabelsOfProblems: labels are classes, numbers, or a yes or no for each class, as
// problem_type says or, without it, as transformers takes a single output.
func TestLabelsOfProblems(t *testing.T) {
	ids := models.Array{Shape: []int{2, 3}, Ints: make([]int32, 6)}
	floats := func(values []float32, shape ...int) models.Array { return models.Array{Shape: shape, Floats: values} }
	classes := models.Array{Shape: []int{2}, Ints: []int32{0, 1}}
	for _, c := range []struct {
		kind    string
		outputs int
		right   []models.Array
		wrong   map[string]models.Array
	}{
		{"", 1, []models.Array{floats([]float32{-3, 7.5}, 2), floats([]float32{-3, 7.5}, 2, 1)},
			map[string]models.Array{"want [N] of floats": classes, "has shape [2 2]": floats(make([]float32, 4), 2, 2)}},
		{models.Regression, 3, []models.Array{floats(make([]float32, 6), 2, 3)},
			map[string]models.Array{"want [N 3] of floats": floats(make([]float32, 2), 2)}},
		{models.MultiLabel, 3, []models.Array{floats([]float32{0, 1, 0.5, 1, 1, 0}, 2, 3)},
			map[string]models.Array{"label 1 is 2, want 0 to 1": floats([]float32{0, 2, 0, 0, 0, 0}, 2, 3),
				"of integers, want [N 3] of floats": classes}},
		{models.SingleLabel, 3, []models.Array{classes}, map[string]models.Array{"of floats, want": floats(nil, 2)}},
		{models.SingleLabel, 1, []models.Array{{Shape: []int{2}, Ints: []int32{0, 0}}},
			map[string]models.Array{"label 1 is 1": classes}},
	} {
		m := problem(t, c.kind, c.outputs)
		for _, labels := range c.right {
			b, err := m.Complete(models.Batch{"input_ids": ids, models.Labels: labels})
			require.NoError(t, err, c.kind)
			require.Len(t, b[models.Labels].Shape, len(m.Labels().Shape)+1)
		}
		for says, labels := range c.wrong {
			if labels.Ints == nil && labels.Floats == nil {
				labels.Floats = []float32{0, 1}
			}
			_, err := m.Complete(models.Batch{"input_ids": ids, models.Labels: labels})
			require.ErrorContains(t, err, says, c.kind)
		}
	}
	words := model(t, modeltest.MaskedLM())
	dir := saved(t, words)
	configure(t, dir, func(c map[string]any) { c["problem_type"] = models.Regression })
	words, err := models.Open(dir)
	require.NoError(t, err)
	require.Equal(t, models.SingleLabel, words.ProblemType(), "every token has classes")
}

// TestSamplesOfNumbers: the integers of a table serve as the labels of a regression.
func TestSamplesOfNumbers(t *testing.T) {
	m, path := problem(t, "", 1), filepath.Join(t.TempDir(), "samples.safetensors")
	ids, err := safetensors.FromInt64([]int{2, 3}, []int64{1, 2, 3, 4, 5, 6})
	require.NoError(t, err)
	labels, err := safetensors.FromInt64([]int{2, 1}, []int64{-4, 5})
	require.NoError(t, err)
	require.NoError(t, safetensors.WriteFile(path, map[string]safetensors.Tensor{"input_ids": ids, "labels": labels}, nil))
	b, err := m.ReadSamples(path)
	require.NoError(t, err)
	require.Equal(t, models.Array{Shape: []int{2}, Floats: []float32{-4, 5}}, b[models.Labels])
}
