package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// TestOutline: an outline has the shapes of its network and no parameters; with parameters
// that are computed it loads and saves as if they had been there.
func TestOutline(t *testing.T) {
	for _, net := range modeltest.Nets() {
		want, err := net.Model(3)
		require.NoError(t, err)
		outline, err := models.Outline(net.Arch, want.Config, safetensors.F32)
		require.NoError(t, err)
		require.Equal(t, want.Shapes(), outline.Shapes())
		require.Equal(t, want.Size(), outline.Size())
		_, err = outline.Load()
		require.ErrorIs(t, err, models.ErrNoParams)
		computed := outline.Computed(want.Tensor)
		require.NoError(t, computed.Check())
		dir, same := t.TempDir(), t.TempDir()
		require.NoError(t, want.Save(dir))
		require.NoError(t, computed.Save(same))
		a, err := models.Open(dir, net.Arch)
		require.NoError(t, err)
		b, err := models.Open(same, net.Arch)
		require.NoError(t, err)
		require.Equal(t, a.Params, b.Params)
		loaded, err := computed.Replace(models.Params{}).Load()
		require.NoError(t, err)
		require.Equal(t, b.Params, loaded.Params)
	}
	vit, err := modeltest.ViT().Model(1)
	require.NoError(t, err)
	half, err := models.Outline(models.ViT(), vit.Config, safetensors.BF16)
	require.NoError(t, err)
	require.Equal(t, safetensors.BF16, half.DType("classifier.weight"))
	_, err = models.Outline(models.ViT(), nil, safetensors.F32)
	require.ErrorContains(t, err, "there is no Config")
}
