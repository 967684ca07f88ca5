package atomicfile

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHolds: links are followed, also on the way to what does not exist yet.
func TestHolds(t *testing.T) {
	parent := t.TempDir()
	dir, link := filepath.Join(parent, "dir"), filepath.Join(parent, "link")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Symlink(dir, link))
	for _, inside := range []string{dir, link, filepath.Join(dir, "new", "x"), filepath.Join(link, "new", "x")} {
		assert.True(t, Holds(dir, inside), inside)
		assert.True(t, Holds(link, inside), inside)
	}
	for _, outside := range []string{parent, filepath.Join(parent, "dir2"), filepath.Join(dir, "..", "new")} {
		assert.False(t, Holds(dir, outside), outside)
	}
	t.Chdir(parent)
	assert.True(t, Holds(".", "nowhere"))
	assert.False(t, Holds("nowhere", "."))
}

// TestNoDraft: where no draft can be made nothing is written, and what is there stays.
func TestNoDraft(t *testing.T) {
	parent := t.TempDir()
	long := filepath.Join(parent, strings.Repeat("x", 250)) // its drafts have longer names
	called := func(string) error {
		assert.Fail(t, "the writer is called")
		return nil
	}
	for _, err := range []error{WriteFile(long, text("x")), WriteDir(long, "marker", called)} {
		require.ErrorContains(t, err, "file name too long")
	}
	loop := filepath.Join(parent, "loop")
	require.NoError(t, os.Symlink(loop, loop))
	for _, err := range []error{WriteFile(loop, text("x")), WriteDir(loop, "marker", called)} {
		require.ErrorContains(t, err, loop)
	}
	assert.Equal(t, []string{"loop"}, list(t, parent))
}

// TestParentIsRemoved: a draft that cannot be put in place is an error.
func TestParentIsRemoved(t *testing.T) {
	for name, writes := range map[string]func(path string) error{
		"file": func(path string) error {
			return WriteFile(path, func(io.Writer) error { return os.RemoveAll(filepath.Dir(path)) })
		},
		"directory": func(path string) error {
			return WriteDir(path, "marker", func(string) error { return os.RemoveAll(filepath.Dir(path)) })
		},
	} {
		err := writes(filepath.Join(t.TempDir(), "parent", "target"))
		require.ErrorIs(t, err, os.ErrNotExist, name)
	}
	require.ErrorIs(t, exchange("./nowhere", "./either"), os.ErrNotExist)
	require.Empty(t, siblings(filepath.Join(t.TempDir(), "parent", "target"), draft))
}

// TestLockedByAnother: what another process has locked is neither set aside nor put back.
func TestLockedByAnother(t *testing.T) {
	if !canRenameOpen {
		t.Skip("this system knows no such locks")
	}
	parent := t.TempDir()
	path, next := filepath.Join(parent, "dir"), filepath.Join(parent, "next")
	hold := func(name string) {
		f, err := os.Open(name)
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		require.NoError(t, tryLock(f))
	}
	require.NoError(t, fill(path, "old"))
	require.NoError(t, fill(next, "new"))
	hold(path)
	require.ErrorIs(t, replaceAside(next, path), ErrLocked)
	assert.Equal(t, "old", filled(t, path))
	assert.Equal(t, "new", filled(t, next))

	path = filepath.Join(parent, "other")
	old := sibling(path, aside)
	require.NoError(t, fill(old, "old"))
	hold(old)
	err := WriteDir(path, "marker", func(dir string) error { return fill(dir, "new") })
	require.ErrorIs(t, err, ErrLocked)
	assert.Equal(t, "old", filled(t, old))
	assert.NoDirExists(t, path)
}

// TestLockNowhere: a lock that cannot be made is an error that says where.
func TestLockNowhere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Mkdir(file+".lock", 0o700))
	for _, path := range []string{filepath.Join(file, "below", "x"), file} {
		_, err := Lock(path)
		require.ErrorContains(t, err, file)
		require.NotErrorIs(t, err, ErrLocked)
	}
}
