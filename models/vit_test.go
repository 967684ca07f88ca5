package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestViTConfig: what cannot be a ViT is an error that names the key.
func TestViTConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*modeltest.Config)
		says   string
	}{
		"patch does not divide": {func(c *modeltest.Config) { c.Patch = 4 },
			"image_size 6 is not a multiple of patch_size 4"},
		"heads do not divide": {func(c *modeltest.Config) { c.Heads = 3 }, "3 heads"},
		"no hidden":           {func(c *modeltest.Config) { c.Hidden = 0 }, "hidden_size"},
		"no layers":           {func(c *modeltest.Config) { c.Layers = 0 }, "num_hidden_layers"},
		"no heads":            {func(c *modeltest.Config) { c.Heads = 0 }, "num_attention_heads"},
		"no mlp":              {func(c *modeltest.Config) { c.MLP = 0 }, "intermediate_size"},
		"no image":            {func(c *modeltest.Config) { c.Image = 0 }, "image_size"},
		"no patch":            {func(c *modeltest.Config) { c.Patch = 0 }, "patch_size"},
		"no channels":         {func(c *modeltest.Config) { c.Channels = 0 }, "num_channels"},
		"negative":            {func(c *modeltest.Config) { c.Hidden = -8 }, "hidden_size"},
		"absurd width":        {func(c *modeltest.Config) { c.Hidden = 1 << 40 }, "hidden_size"},
		"absurd image":        {func(c *modeltest.Config) { c.Image, c.Patch = 1<<62, 1<<62 }, "image_size"},
		"absurd depth":        {func(c *modeltest.Config) { c.Layers = 1 << 20 }, "num_hidden_layers"},
		"activation":          {func(c *modeltest.Config) { c.Act = "swish" }, "swish"},
	} {
		t.Run(name, func(t *testing.T) {
			net := modeltest.ViT()
			c.change(&net.Config)
			g, err := net.Graph()
			require.ErrorContains(t, err, c.says)
			require.Nil(t, g)
			_, err = models.New(net.Arch, net.ModelConfig(), nil)
			require.ErrorContains(t, err, net.Arch.Class)
		})
	}
}

func TestViTLayout(t *testing.T) {
	net := modeltest.ViT()
	require.Equal(t, align.Layout{Lead: 1, Rows: 3, Cols: 3}, model(t, net).Layout)
	no := false
	net.Config.QKVBias = &no
	g, err := net.Graph()
	require.NoError(t, err)
	require.Len(t, g.Find("vit.encoder.layer.0.attention.attention.key").Params, 1)
	require.Len(t, g.Find("vit.encoder.layer.0.attention.output.dense").Params, 2)
}
