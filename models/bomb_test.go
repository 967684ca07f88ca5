package models_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/bounded"
	"github.com/otfuse/otfuse/internal/bounded/boundedtest"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
)

// smallCheckpoint writes a checkpoint of one tensor with a config.json.
func smallCheckpoint(t *testing.T, config string) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600))
	one := map[string]safetensors.Tensor{"x": {DType: safetensors.F32, Shape: []int{1}, Data: make([]byte, 4)}}
	require.NoError(t, safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), one, nil))
	return dir
}

// TestConfigBombs: a config.json alone takes next to no memory, whatever sizes it
// claims.
func TestConfigBombs(t *testing.T) {
	sizes := `"hidden_size": %[1]d, "num_hidden_layers": %[2]d, "num_attention_heads": 8, "intermediate_size": %[1]d,
		"image_size": %[3]d, "patch_size": %[4]d, "num_channels": 3, "vocab_size": 16000000,
		"max_position_embeddings": 16000000,
		"type_vocab_size": 2, "hidden_act": "gelu", "dim": %[1]d, "n_layers": %[2]d, "n_heads": 8, "hidden_dim": %[1]d,
		"n_embd": %[1]d, "n_layer": %[2]d, "n_head": 8, "n_positions": 16000000`
	for _, a := range models.Known() {
		for _, c := range [][]any{
			{64, 1, 4096, 1}, {64, 1, 16384, 1}, {64, 1, 1 << 24, 1}, {1 << 24, 1, 224, 16}, {1 << 24, 1, 1 << 24, 1},
			{1 << 24, 4096, 1 << 24, 1},
		} {
			if deep := c[1] == 4096; deep && a.Class != models.ViT().Class { // one of them takes as long as all others
				continue
			}
			config := fmt.Sprintf(`{"architectures": ["`+a.Class+`"], `+sizes+"}", c...)
			dir := smallCheckpoint(t, config)
			boundedtest.Require(t, boundedtest.Hostile, func() {
				_, err := models.Open(dir)
				require.Error(t, err)
				require.Regexp(t, "tensor|config.json", err.Error(), "%s %v", a.Class, c)
				require.Less(t, len(err.Error()), 2000)
			})
		}
	}
}

// TestManyTensors: an error about very many tensors names a few of them.
func TestManyTensors(t *testing.T) {
	dir := smallCheckpoint(t, `{"architectures": ["ViTForImageClassification"], "hidden_size": 8, "num_hidden_layers": 1,
		"num_attention_heads": 2, "intermediate_size": 8, "image_size": 8, "patch_size": 4}`)
	many := map[string]safetensors.Tensor{}
	for i := range 5_000 {
		many[fmt.Sprintf("vit.encoder.layer.0.%d", i)] = safetensors.Tensor{DType: safetensors.F32, Shape: []int{0}}
	}
	require.NoError(t, safetensors.WriteFile(filepath.Join(dir, "model.safetensors"), many, nil))
	_, err := models.Open(dir)
	require.ErrorContains(t, err, "more")
	require.Less(t, len(err.Error()), 2000)
}

// TestPipesAndDevices: what is no file is refused before it is opened.
func TestPipesAndDevices(t *testing.T) {
	for _, name := range []string{"config.json", "model.safetensors", "model.safetensors.index.json"} {
		dir := smallCheckpoint(t, `{"architectures": ["BertModel"]}`)
		if name != "config.json" {
			require.NoError(t, os.Remove(filepath.Join(dir, "model.safetensors")))
		} else {
			require.NoError(t, os.Remove(filepath.Join(dir, name)))
		}
		boundedtest.MakePipe(t, filepath.Join(dir, name))
		_, err := models.Open(dir)
		require.ErrorContains(t, err, "not a regular file", name)
		require.ErrorContains(t, err, name)
	}
	dir := smallCheckpoint(t, "")
	require.NoError(t, os.Remove(filepath.Join(dir, "config.json")))
	require.NoError(t, os.Symlink("/dev/zero", filepath.Join(dir, "config.json")))
	_, err := models.Open(dir)
	require.ErrorIs(t, err, bounded.ErrIrregular)
	require.ErrorIs(t, models.Replaceable(dir), bounded.ErrIrregular)

	// Beside the weights a pipe is passed over.
	dir = smallCheckpoint(t, `{"architectures": ["BertModel"]}`)
	boundedtest.MakePipe(t, filepath.Join(dir, "vocab.txt"))
	_, err = models.Open(dir)
	require.ErrorContains(t, err, "BertModel")

	dir = smallCheckpoint(t, `{"x": "`+strings.Repeat("x", 17<<20)+`"}`)
	_, err = models.Open(dir)
	require.ErrorContains(t, err, "at most 16777216 make sense")
}
