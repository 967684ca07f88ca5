//go:build unix

package atomicfile

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriteFilePermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	mode := func() os.FileMode {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Mode()
	}
	require.NoError(t, WriteFile(path, text("one")))
	assert.Equal(t, os.FileMode(0o640), mode())
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, WriteFile(path, text("two")))
	assert.Equal(t, os.FileMode(0o600), mode(), "a private file stays private")
}

func TestWriteDirPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir")
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	mode := func() os.FileMode {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	require.NoError(t, WriteDir(path, "marker", filler("one")))
	assert.Equal(t, os.FileMode(0o750), mode())
	require.NoError(t, os.Chmod(path, 0o700))
	require.NoError(t, WriteDir(path, "marker", filler("two")))
	assert.Equal(t, os.FileMode(0o700), mode(), "a private directory stays private")
}

// TestWriteDirProtected: a write-protected directory is replaced, since the
// directory above it is not, and nothing is left of it.
func TestWriteDirProtected(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("nothing is write-protected for root")
	}
	top := t.TempDir()
	path := filepath.Join(top, "dir")
	require.NoError(t, WriteDir(path, "marker", filler("one")))
	require.NoError(t, os.Chmod(path, 0o555))
	defer func() { require.NoError(t, os.Chmod(path, 0o755)) }()
	for range 2 {
		require.NoError(t, WriteDir(path, "marker", filler("two")))
		entries, err := os.ReadDir(top)
		require.NoError(t, err)
		assert.Len(t, entries, 1, "a draft was left behind")
	}
}
