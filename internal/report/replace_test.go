package report

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/bounded"
)

// TestReplaceable: what a program wrote may be written again, and nothing else.
func TestReplaceable(t *testing.T) {
	dir, p := t.TempDir(), full(t)
	require.NoError(t, Replaceable(filepath.Join(dir, "nowhere")))
	require.NoError(t, p.WritePlots(dir))
	require.NoError(t, p.WriteFile(filepath.Join(dir, PageFile)))
	require.NoError(t, p.Report.Write(filepath.Join(dir, JSONFile)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600))
	require.NoError(t, Replaceable(dir), "files of other names are in no danger")

	for _, name := range append([]string{JSONFile, PageFile}, pictureFiles()...) {
		path := filepath.Join(dir, name)
		own, err := os.ReadFile(path)
		require.NoError(t, err, "the closed list holds what is written")
		for _, foreign := range []string{"", "{}", "<html></html>", `{"rows": [{"name": "x"}]}`, `<svg></svg>`} {
			require.NoError(t, os.WriteFile(path, []byte(foreign), 0o600))
			require.ErrorContains(t, Replaceable(dir), name+" is not replaced: no program of otfuse wrote it", foreign)
		}
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Mkdir(path, 0o700))
		require.ErrorIs(t, Replaceable(dir), bounded.ErrIrregular)
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.WriteFile(path, own, 0o600))
		require.NoError(t, Replaceable(dir))
	}
}
