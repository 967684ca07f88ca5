package models_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// TestLink: a linked model is what an open one is, tensor by tensor.
func TestLink(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, dtype := range []safetensors.DType{safetensors.F32, safetensors.BF16} {
			dir := saved(t, typed(model(t, net), dtype))
			want, err := models.Open(dir, net.Arch)
			require.NoError(t, err)
			got, err := models.Link(dir, net.Arch)
			require.NoError(t, err)
			require.Nil(t, got.Params)
			require.Equal(t, want.Shapes(), got.Shapes())
			require.Equal(t, want.Size(), got.Size())
			for name, w := range want.Params {
				g, err := got.Tensor(name)
				require.NoError(t, err)
				require.Equal(t, w, g, name)
			}
			for _, m := range []*models.Model{want, got} {
				_, err = m.Tensor("none")
				require.ErrorIs(t, err, safetensors.ErrNoTensor)
			}
			loaded, err := got.Load()
			require.NoError(t, err)
			require.Equal(t, want.Params, loaded.Params)
			copied := filepath.Join(t.TempDir(), "copy")
			require.NoError(t, got.Save(copied))
			require.Equal(t, read(t, dir), read(t, copied))
			require.NoError(t, got.Save(dir), "over the files that it is linked to")
			require.Equal(t, read(t, copied), read(t, dir))
		}
	}
}

// TestLinkErrors: what is wrong with names and shapes is found at once, with
// values when they are read.
func TestLinkErrors(t *testing.T) {
	net := modeltest.ViT()
	m := model(t, net)
	const name = "vit.layernorm.weight"
	dir := savedWith(t, m, name, 2, float32(math.Inf(-1)))
	l, err := models.Link(dir)
	require.NoError(t, err)
	_, err = l.Tensor(name)
	require.ErrorContains(t, err, `"vit.layernorm.weight" is -Inf at position 2`)
	_, err = l.Load()
	require.ErrorContains(t, err, name)
	require.Error(t, l.Save(filepath.Join(t.TempDir(), "copy")))
	stored := read(t, dir)
	delete(stored, name)
	write(t, dir, stored)
	_, err = models.Link(dir)
	require.ErrorContains(t, err, name)
	_, err = models.Link(t.TempDir())
	require.Error(t, err)
}
