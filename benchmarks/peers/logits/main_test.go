package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// TestRun: the logits of the file are those of the network, the last batch included.
func TestRun(t *testing.T) {
	t.Setenv("GOMLX_BACKEND", "go")
	dir := t.TempDir()
	net := modeltest.Classifier()
	m, err := net.Model(1)
	require.NoError(t, err)
	require.NoError(t, m.Save(filepath.Join(dir, "m")))
	ids := net.Batch(batch+3, 2)["input_ids"]
	stored, err := safetensors.FromInt32(ids.Shape, ids.Ints)
	require.NoError(t, err)
	file, out := filepath.Join(dir, "samples.safetensors"), filepath.Join(dir, "logits.safetensors")
	require.NoError(t, safetensors.WriteFile(file, map[string]safetensors.Tensor{"input_ids": stored}, nil))
	require.NoError(t, run(t.Context(), filepath.Join(dir, "m"), file, out))
	f, err := safetensors.Open(out)
	require.NoError(t, err)
	defer f.Close()
	logits, err := f.Tensor("logits")
	require.NoError(t, err)
	got, err := logits.Float32s()
	require.NoError(t, err)
	complete, err := m.Complete(models.Batch{"input_ids": ids})
	require.NoError(t, err)
	require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, complete), got), 1e-4)
}

// TestEveryClassHasAPeer: each class that the library knows is compared with the
// implementation that it comes from.
func TestEveryClassHasAPeer(t *testing.T) {
	script, err := os.ReadFile("../transformers_parity.py")
	require.NoError(t, err)
	for _, arch := range models.Known() {
		if arch.Class != models.SimpleViT().Class { // simplevit_parity.py has it
			require.Contains(t, string(script), `("`+arch.Class+`",`)
		}
	}
}
