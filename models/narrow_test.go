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
