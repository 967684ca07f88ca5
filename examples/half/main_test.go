package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/safetensors"
)

// checkpoint writes a directory of one float32 tensor, one of integers, a
// configuration and a vocabulary.
func checkpoint(t *testing.T, weights ...float32) string {
	dir := t.TempDir()
	w, err := safetensors.FromFloat32(safetensors.F32, []int{len(weights)}, weights)
	require.NoError(t, err)
	ids, err := safetensors.FromInt64([]int{2}, []int64{1, 2})
	require.NoError(t, err)
	file := filepath.Join(dir, safetensors.SingleName)
	require.NoError(t, safetensors.WriteFile(file, map[string]safetensors.Tensor{"w": w, "ids": ids}, nil))
	config := `{"torch_dtype" : "float32", "hidden_size": 2}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vocab.txt"), []byte("float32"), 0o600))
	return dir
}

func TestHalf(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, run(checkpoint(t, 1, -0.5, 1+0x1p-11, 1+0x1.8p-10, 1e-9), out))

	back, err := safetensors.OpenDir(out)
	require.NoError(t, err)
	defer back.Close()
	w, err := back.Tensor("w")
	require.NoError(t, err)
	assert.Equal(t, safetensors.F16, w.DType)
	values, err := w.Float32s()
	require.NoError(t, err)
	assert.Equal(t, []float32{1, -0.5, 1, 1 + 0x1p-9, 0}, values, "nearest, ties to even")
	ids, err := back.Tensor("ids")
	require.NoError(t, err)
	assert.Equal(t, safetensors.I64, ids.DType, "integers stay")

	for name, want := range map[string]string{"config.json": `{"torch_dtype" : "float16", "hidden_size": 2}`,
		"vocab.txt": "float32"} {
		text, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}

	again := filepath.Join(t.TempDir(), "again")
	require.NoError(t, run(out, again), "a checkpoint of float16 stays as it is")
	for _, name := range []string{safetensors.SingleName, "config.json"} {
		first, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		second, err := os.ReadFile(filepath.Join(again, name))
		require.NoError(t, err)
		assert.Equal(t, first, second, name)
	}
}

// TestHalfOfSnapshot: what links lead to is copied, weights of other formats are not.
func TestHalfOfSnapshot(t *testing.T) {
	dir, snapshot, out := checkpoint(t, 1), t.TempDir(), filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte("x"), 0o600))
	for _, name := range []string{safetensors.SingleName, "config.json", "vocab.txt", "pytorch_model.bin"} {
		require.NoError(t, os.Symlink(filepath.Join(dir, name), filepath.Join(snapshot, name)))
	}
	require.NoError(t, run(snapshot, out))
	require.FileExists(t, filepath.Join(out, "vocab.txt"))
	require.NoFileExists(t, filepath.Join(out, "pytorch_model.bin"))
	require.FileExists(t, filepath.Join(out, safetensors.SingleName))
}

func TestHalfRefuses(t *testing.T) {
	dir := checkpoint(t, 1)
	require.ErrorContains(t, run(dir, dir), "want a new or an empty directory")
	require.ErrorContains(t, run(dir, filepath.Join(dir, "half")), "an input, to which nothing is added")
	require.ErrorContains(t, run(t.TempDir(), t.TempDir()), "file does not exist")
	out := filepath.Join(t.TempDir(), "out")
	require.ErrorContains(t, run(checkpoint(t, 1, 70000), out), "value 1, 70000, does not fit float16")
	assert.NoDirExists(t, out)
}

// TestShippedParents keeps the parents that the programs bring along small.
func TestShippedParents(t *testing.T) {
	dirs, err := filepath.Glob("../*/parents/*/config.json")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, config := range dirs {
		dir := filepath.Dir(config)
		text, err := os.ReadFile(config)
		require.NoError(t, err)
		assert.Contains(t, string(text), `"torch_dtype": "float16"`, dir)
		checkHalf(t, dir)
	}
}

// checkHalf checks that all tensors of a checkpoint are float16.
func checkHalf(t *testing.T, dir string) {
	parent, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	defer parent.Close()
	for _, name := range parent.Names() {
		dtype, _, err := parent.Info(name)
		require.NoError(t, err)
		assert.Equal(t, safetensors.F16, dtype, "%s: %s", dir, name)
	}
}
