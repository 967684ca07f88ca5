package models_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestNarrow: a network of half the width has half of everything that shrinks with it, and
// the files of the other.
func TestNarrow(t *testing.T) {
	gpt2 := models.GPT2Config{Hidden: 16, Layers: 2, Heads: 2, Act: "gelu_new", Eps: 1e-5, Vocab: 11, Positions: 8,
		ScaleByWidth: true, Tied: true}
	llama := models.LlamaConfig{Hidden: 16, Layers: 2, Heads: 4, KeyHeads: 2, MLP: 24, Act: "silu", Eps: 1e-5, Vocab: 11,
		Theta: 1e4}
	for _, c := range []struct {
		arch   models.Architecture
		config models.Config
		want   models.Dims
	}{
		{models.GPT2(), gpt2, models.Dims{Width: 8, Heads: 2}},
		{models.Llama(), llama, models.Dims{Width: 8, Heads: 2}},
		{modeltest.ViT().Arch, modeltest.ViT().ModelConfig(), models.Dims{Width: 4, Heads: 2}},
		{modeltest.MaskedLM().Arch, modeltest.MaskedLM().ModelConfig(), models.Dims{Width: 4, Heads: 2}},
	} {
		t.Run(c.arch.Class, func(t *testing.T) {
			wide, err := models.Fresh(c.arch, c.config, 1, 0.02)
			require.NoError(t, err)
			wide.Files = map[string][]byte{"tokenizer.json": []byte("{}")}
			narrow, err := models.Narrow(wide, c.want.Width, 2)
			require.NoError(t, err)
			require.Equal(t, []int{c.want.Width, c.want.Heads}, []int{narrow.Dims().Width, narrow.Dims().Heads})
			require.Equal(t, wide.Files, narrow.Files)
			require.Less(t, narrow.Size(), wide.Size()*2/3)
			again, err := models.Narrow(wide, c.want.Width, 2)
			require.NoError(t, err)
			require.Equal(t, narrow.Params, again.Params, "the same seed, the same values")
			for width, message := range map[int]string{0: "want 1 to", 2 * c.want.Width: "want 1 to", 3: "3 "} {
				_, err := models.Narrow(wide, width, 2)
				require.ErrorContains(t, err, message)
				require.ErrorContains(t, err, "models: narrowing "+c.arch.Class)
			}
		})
	}
}

// TestShares: two networks of half the width fill one of the width of a model, whose tensors
// have the shapes of the model's.
func TestShares(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			if net.Arch.Class == models.SimpleViT().Class {
				net.Config.Hidden, net.Config.HeadDim = 16, 4 // positions need eight units at least
			}
			m, err := net.Model(1)
			require.NoError(t, err)
			share, whole, err := models.Shares(m, 2, 1)
			require.NoError(t, err)
			require.Equal(t, m.Shapes(), whole.Shapes())
			require.Equal(t, 2*share.Dims().Width, whole.Dims().Width)
			require.Equal(t, 2*share.Dims().Heads, whole.Dims().Heads)
			for _, k := range []int{0, 1, 3} {
				_, _, err := models.Shares(m, k, 1)
				require.ErrorContains(t, err, "cannot be shared")
			}
		})
	}
}
