package models_test

import (
	"maps"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestNewChecks: parameters that Open would refuse are refused.
func TestNewChecks(t *testing.T) {
	net := modeltest.ViT()
	m := model(t, net)
	for says, change := range map[string]func(*models.Tensor){
		`"classifier.bias": shape [3] holds 3 values, got 2`: func(p *models.Tensor) { p.Data = p.Data[:2] },
		`"classifier.bias": shape [3] holds 3 values, got 0`: func(p *models.Tensor) { p.Data = nil },
		`"classifier.bias" is NaN at position 1`:             func(p *models.Tensor) { p.Data = []float32{0, nan(), 0} },
		`"classifier.bias" of classifier has shape [4]`:      func(p *models.Tensor) { p.Shape = []int{4} },
	} {
		p := maps.Clone(m.Params)
		bias := p["classifier.bias"]
		change(&bias)
		p["classifier.bias"] = bias
		_, err := models.New(net.Arch, m.Config, p)
		require.ErrorContains(t, err, says)
	}
	_, err := models.New(net.Arch, m.Config, nil)
	require.ErrorIs(t, err, models.ErrNoParams)
	require.ErrorIs(t, m.With(nil).Check(), models.ErrNoParams)
	_, err = m.With(nil).Tensor("classifier.bias")
	require.ErrorIs(t, err, models.ErrNoParams)
	require.NoError(t, m.Check())
	linked, err := models.Link(saved(t, m))
	require.NoError(t, err)
	_, err = models.New(net.Arch, m.Config, linked.Params)
	require.ErrorIs(t, err, models.ErrNoParams)
	require.ErrorContains(t, err, "Load")
}

func nan() float32 {
	var zero float32
	return zero / zero
}

// TestDigest: copies have one digest; another value or configuration has another.
func TestDigest(t *testing.T) {
	config := models.ViTConfig{Hidden: 4, Layers: 1, Heads: 2, MLP: 6, Act: "gelu", Image: 4, Patch: 2, Channels: 1,
		Labels: map[string]string{"0": "a", "1": "b"}}
	m, err := models.Fresh(models.ViT(), config, 1, 0.1)
	require.NoError(t, err)
	digest := func(m *models.Model) string {
		d, err := m.Digest()
		require.NoError(t, err)
		require.Regexp(t, "^[0-9a-f]{16}$", d)
		return d
	}
	dir := filepath.Join(t.TempDir(), "model")
	require.NoError(t, m.Save(dir))
	linked, err := models.Link(dir)
	require.NoError(t, err)
	require.Equal(t, digest(m), digest(linked))
	other, err := models.Fresh(models.ViT(), config, 2, 0.1)
	require.NoError(t, err)
	require.NotEqual(t, digest(m), digest(other))
	config.Act = "relu"
	other, err = models.New(models.ViT(), config, m.Params)
	require.NoError(t, err)
	require.NotEqual(t, digest(m), digest(other))
}
