package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	t.Chdir("../..")
	t.Setenv("TMPDIR", t.TempDir())
	file := filepath.Join(t.TempDir(), "large.json")
	o, err := parse([]string{"-models", "bert-small", "-json", file})
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, run(t.Context(), o, &text))
	require.FileExists(t, file)
	require.Contains(t, text.String(), "bert-small: two checkpoints of ")
	if runtime.GOOS == "linux" {
		require.Contains(t, text.String(), " times as much")
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = parse([]string{"-models", "gpt"})
	require.ErrorContains(t, err, "there are bert-large, bert-small, vit-l")
}
