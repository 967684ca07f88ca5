package safetensors

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDescribe: a file that is something else than its name says is called what it
// is, wherever a file of a checkpoint is read.
func TestDescribe(t *testing.T) {
	for text, says := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n": "Git LFS pointer",
		"<!DOCTYPE html>\n<html lang=\"en\">":                                  "HTML",
		"\n <html><head>":                                                      "HTML",
		"PK\x03\x04\x00\x00\x08\x08archive":                                    "zip archive, as torch.save",
		"\x80\x02\x8a\nl\xfc\x9cF\xf9 j":                                       "Python pickle",
		"GGUF\x03\x00\x00\x00\x00":                                             "GGUF",
		"\x89HDF\r\n\x1a\n":                                                    "HDF5",
		"\x1f\x8b\x08\x00\x00\x00":                                             "gzip",
		"Entry not found":                                                      "error message of a server",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, SingleName), []byte(text), 0o600))
		_, err := OpenDir(dir)
		var format *FormatError
		require.ErrorAs(t, err, &format)
		assert.Contains(t, format.Msg, says)
		assert.NotContains(t, err.Error(), "\n")
		assert.Less(t, len(err.Error()), 400)
		require.NoError(t, os.Rename(filepath.Join(dir, SingleName), filepath.Join(dir, IndexName)))
		_, err = OpenDir(dir)
		require.ErrorContains(t, err, says)
	}
	for _, text := range []string{"", "{", "\x80\x02\x00\x00\x00\x00\x00\x00{}", "version 1", "PK", "tensors"} {
		assert.Empty(t, Describe([]byte(text)), text)
	}
}

// TestOtherWeights: a directory with weights of PyTorch alone is told so.
func TestOtherWeights(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte("x"), 0o600))
	_, err := OpenDir(dir)
	require.ErrorContains(t, err, "but pytorch_model.bin")
}
