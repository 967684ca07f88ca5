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
	o, err := parse([]string{"-models", "bert-small,llama-small", "-methods", "vanilla,flow,match", "-layers", "1",
		"-rounds", "1", "-json", file})
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, run(t.Context(), o, &text))
	require.FileExists(t, file)
	require.Contains(t, text.String(), "bert-small, 1 layers, flow: two checkpoints of ")
	require.Contains(t, text.String(), "llama-small, 1 layers, match: two checkpoints of ")
	if runtime.GOOS == "linux" {
		require.Contains(t, text.String(), " times as much")
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
	_, err = parse([]string{"-models", "gpt"})
	require.ErrorContains(t, err, "there are bert-large, bert-small, ")
	_, err = parse([]string{"-methods", "magic"})
	require.ErrorContains(t, err, "there are vanilla, flow, match")
}

// TestShapes: the table comes from shapes alone, of networks that no machine here holds.
func TestShapes(t *testing.T) {
	var text bytes.Buffer
	require.NoError(t, tellShapes(&text))
	require.Contains(t, text.String(), "| Llama 70B")
	require.Contains(t, text.String(), "| 68.98·10⁹")
}
