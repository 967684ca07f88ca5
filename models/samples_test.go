package models_test

import (
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// samplesFile writes a batch as a file of samples: floats as F32, integers as
// I64, as PyTorch has them.
func samplesFile(t *testing.T, b models.Batch) string {
	t.Helper()
	out := map[string]safetensors.Tensor{}
	for name, a := range b {
		var err error
		if a.Floats != nil {
			out[name], err = safetensors.FromFloat32(safetensors.F32, a.Shape, a.Floats)
		} else {
			wide := make([]int64, len(a.Ints))
			for i, v := range a.Ints {
				wide[i] = int64(v)
			}
			out[name], err = safetensors.FromInt64(a.Shape, wide)
		}
		require.NoError(t, err)
	}
	path := filepath.Join(t.TempDir(), "samples.safetensors")
	require.NoError(t, safetensors.WriteFile(path, out, nil))
	return path
}

// TestReadSamples: every network reads back the samples that were written for
// it, with the defaults of the inputs that were left out.
func TestReadSamples(t *testing.T) {
	for _, net := range modeltest.Nets() {
		m := model(t, net)
		want, err := m.Complete(net.Batch(3, 1))
		require.NoError(t, err)
		got, err := m.ReadSamples(samplesFile(t, net.Batch(3, 1)))
		require.NoError(t, err, m.Arch.Class)
		assert.Equal(t, want, got, m.Arch.Class)
		for _, in := range m.Inputs {
			if in.Default == nil {
				continue
			}
			b := maps.Clone(net.Batch(3, 1))
			delete(b, in.Name)
			want, err := m.Complete(b)
			require.NoError(t, err)
			got, err := m.ReadSamples(samplesFile(t, b))
			require.NoError(t, err)
			assert.Equal(t, want, got, "%s without %s", m.Arch.Class, in.Name)
		}
	}
}

// TestReadSamplesRefuses: what the network cannot read is an error that names
// the file and the tensor.
func TestReadSamplesRefuses(t *testing.T) {
	net := modeltest.ViT()
	m := model(t, net)
	for want, spoil := range map[string]func(models.Batch){
		`tensor "noise" is no input of ViTForImageClassification`: func(b models.Batch) { b["noise"] = b["pixel_values"] },
		`tensor "pixel_values": safetensors: I64 as float32`: func(b models.Batch) {
			b["pixel_values"] = models.Array{Shape: []int{1}, Ints: []int32{1}}
		},
		"pixel_values is NaN at position 0": func(b models.Batch) { b["pixel_values"].Floats[0] = float32(math.NaN()) },
		"the batch has no pixel_values":     func(b models.Batch) { delete(b, "pixel_values") },
		"label 0 is 1000": func(b models.Batch) {
			b[models.Labels] = models.Array{Shape: []int{3}, Ints: []int32{1000, 0, 0}}
		},
	} {
		b := net.Batch(3, 1)
		spoil(b)
		path := samplesFile(t, b)
		_, err := m.ReadSamples(path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "models: "+path+": ")
		assert.NotContains(t, err.Error()[len("models: "):], "models: ", "the package is named once")
	}
	_, err := m.ReadSamples("nowhere")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestTensorConversion: a tensor of a model is stored in its own dtype and read
// back as it was.
func TestTensorConversion(t *testing.T) {
	for _, dtype := range []safetensors.DType{"", safetensors.F32, safetensors.F16, safetensors.BF16} {
		held := models.Tensor{DType: dtype, Shape: []int{2, 2}, Data: []float32{1, -2, 0.5, 0}}
		stored, err := held.ToSafetensors()
		require.NoError(t, err)
		back, err := models.FromSafetensors(stored)
		require.NoError(t, err)
		assert.Equal(t, held.Shape, back.Shape)
		assert.Equal(t, held.Data, back.Data)
		if dtype != "" {
			assert.Equal(t, dtype, back.DType)
		}
	}
	wide, err := safetensors.FromFloat64([]int{1}, []float64{0.25})
	require.NoError(t, err)
	held, err := models.FromSafetensors(wide)
	require.NoError(t, err)
	stored, err := held.ToSafetensors()
	require.NoError(t, err)
	assert.Equal(t, safetensors.F32, stored.DType)

	whole, err := safetensors.FromInt32([]int{1}, []int32{1})
	require.NoError(t, err)
	_, err = models.FromSafetensors(whole)
	require.ErrorIs(t, err, safetensors.ErrDType)
	_, err = models.Tensor{Shape: []int{3}, Data: []float32{1}}.ToSafetensors()
	require.ErrorAs(t, err, new(*safetensors.FormatError))
}
