package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
)

// TestDryRun says what a run takes and does nothing.
func TestDryRun(t *testing.T) {
	a, b := parent(t, 1, tiny()), parent(t, 2, tiny())
	out := filepath.Join(t.TempDir(), "out")
	for _, method := range []string{"vanilla", "flow", "match", "learned", "distil"} {
		text := fmt.Sprintf(`{"method":%q}`, method)
		r, w, err := os.Pipe()
		require.NoError(t, err)
		stdout := os.Stdout
		os.Stdout = w
		err = program(t, "-out", out, "-dry-run", "-calib", samples(t, 4), "-config", config(t, text), a, b)
		os.Stdout = stdout
		require.NoError(t, err)
		require.NoError(t, w.Close())
		told, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Contains(t, string(told), "memory in all, at least")
		require.Contains(t, string(told), "the result on disk")
		require.NoDirExists(t, out)
	}
}

// TestCheckMemory: what does not fit is refused by what takes most.
func TestCheckMemory(t *testing.T) {
	n := fuse.Needs{Models: 1e9, Moments: 2e9, AllMoments: 7e9, Passes: 4, Site: 5e8, SiteName: "layer.0"}
	require.NoError(t, checkMemory(n, 3.5e9))
	err := checkMemory(n, 3e9)
	require.ErrorContains(t, err, "at least 3.50 GB")
	require.ErrorContains(t, err, "2.00 GB of it moments of activations (of 7.00 GB, in 4 passes over the samples)")
	require.ErrorContains(t, err, "3.00 GB are free")
}
