package safetensors_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/safetensors"
)

// Files that the format's own library wrote come back byte for byte.
func TestGoldenFilesRewriteToTheSameBytes(t *testing.T) {
	root := os.Getenv("OTFUSE_GOLDEN")
	if root == "" {
		t.Skip("OTFUSE_GOLDEN is not set: no files of other writers to read")
	}
	var paths []string
	for _, pattern := range []string{"parents/*/model_*/model.safetensors", "parents/*.safetensors", "ot/*.safetensors"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, found, "%s has no %s", root, pattern)
		paths = append(paths, found...)
	}
	for _, path := range paths {
		f, err := safetensors.Open(path)
		require.NoError(t, err)
		tensors := readAll(t, f)
		require.NotEmpty(t, tensors)
		var b bytes.Buffer
		require.NoError(t, safetensors.Write(&b, tensors, f.Metadata()))
		require.NoError(t, f.Close())
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, b.Bytes()), "%s is not rewritten to the same bytes", path)
	}
}

// source is what File and Checkpoint have in common.
type source interface {
	Names() []string
	Info(name string) (safetensors.DType, []int, error)
	Tensor(name string) (safetensors.Tensor, error)
}

func readAll(t testing.TB, s source) map[string]safetensors.Tensor {
	t.Helper()
	all := map[string]safetensors.Tensor{}
	for _, name := range s.Names() {
		tensor, err := s.Tensor(name)
		require.NoError(t, err)
		dtype, shape, err := s.Info(name)
		require.NoError(t, err)
		require.Equal(t, tensor.DType, dtype)
		require.Equal(t, tensor.Shape, shape)
		all[name] = tensor
	}
	return all
}
