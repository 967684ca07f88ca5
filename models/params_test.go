package models_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestFreshTooLarge: sizes that are each allowed do not ask for more memory than
// there is.
func TestFreshTooLarge(t *testing.T) {
	net := modeltest.ViT()
	net.Config.Hidden, net.Config.MLP = 1<<24, 1<<24
	_, err := models.Fresh(net.Arch, net.ModelConfig(), 1, 0.02)
	require.ErrorContains(t, err, "would have shape [16777216 16777216]")
}

// TestInit: the same seed gives the same parameters, another seed others, of
// the right spread; gains are 1 and biases 0.
func TestInit(t *testing.T) {
	net := modeltest.ViT()
	net.Config.Hidden = 64
	g, err := net.Graph()
	require.NoError(t, err)
	a, b, c := models.Init(g, 1, 0.02), models.Init(g, 1, 0.02), models.Init(g, 2, 0.02)
	require.Equal(t, a, b)
	require.NoError(t, g.Check(a.Shapes()))
	const w = "vit.encoder.layer.0.attention.attention.query.weight"
	require.NotEqual(t, a[w], c[w])
	var sum float64
	for _, v := range a[w].Data {
		sum += float64(v) * float64(v)
	}
	require.InDelta(t, 0.02, math.Sqrt(sum/float64(len(a[w].Data))), 0.001)
	require.Equal(t, slices.Repeat([]float32{1}, 64), a["vit.layernorm.weight"].Data)
	require.Equal(t, make([]float32, 64), a["vit.layernorm.bias"].Data)
	require.Equal(t, make([]float32, 3), a["classifier.bias"].Data)
}
