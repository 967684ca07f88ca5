package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func filler(text string) func(string) error {
	return func(dir string) error { return fill(dir, text) }
}

func TestWriteDir(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "new", "deep")
	path := filepath.Join(parent, "dir")
	require.NoError(t, WriteDir(path, "marker", filler("one")))
	assert.Equal(t, "one", filled(t, path))
	require.NoError(t, os.WriteFile(filepath.Join(path, "only in the old"), nil, 0o600))
	require.NoError(t, WriteDir(path+"/", "marker", filler("two")))
	assert.Equal(t, "two", filled(t, path))
	assert.ElementsMatch(t, []string{"a", "marker", "sub"}, list(t, path))
	assert.Equal(t, []string{"dir"}, list(t, parent))
}

func TestWriteDirReplacesAnEmptyOne(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, WriteDir(path, "marker", filler("new")))
	assert.Equal(t, "new", filled(t, path))
}

func TestWriteDirThatFailsKeepsTheOld(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "dir")
	cause := errors.New("half way")
	failing := func(dir string) error { return errors.Join(fill(dir, "half"), cause) }
	err := WriteDir(path, "marker", failing)
	require.ErrorIs(t, err, cause)
	assert.ErrorContains(t, err, path)
	assert.Empty(t, list(t, parent))

	require.NoError(t, WriteDir(path, "marker", filler("old")))
	require.ErrorIs(t, WriteDir(path, "marker", failing), cause)
	assert.Equal(t, "old", filled(t, path))
	assert.Equal(t, []string{"dir"}, list(t, parent))
}

func TestWriteDirFollowsLinks(t *testing.T) {
	parent := t.TempDir()
	dir, link := filepath.Join(parent, "dir"), filepath.Join(parent, "link")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Symlink("dir", link))
	require.NoError(t, WriteDir(link, "marker", filler("new")))
	assert.Equal(t, "new", filled(t, dir))
	assert.ElementsMatch(t, []string{"dir", "link"}, list(t, parent))
}

func TestWriteDirRefuses(t *testing.T) {
	parent := t.TempDir()
	file := filepath.Join(parent, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	foreign := filepath.Join(parent, "foreign")
	require.NoError(t, os.MkdirAll(filepath.Join(foreign, "marker"), 0o700)) // a directory is no marker
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "thesis.tex"), []byte("years of work"), 0o600))
	here := filepath.Join(parent, "here")
	require.NoError(t, os.MkdirAll(filepath.Join(here, "below"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(here, "marker"), nil, 0o600))
	t.Chdir(filepath.Join(here, "below"))
	for path, msg := range map[string]string{
		file:                         "exists and is not a directory",
		filepath.Join(file, "below"): "not a directory",
		foreign:                      `is not empty and holds no file "marker", so it is not replaced`,
		here:                         "is or holds the current directory",
		".":                          "is or holds the current directory",
	} {
		err := WriteDir(path, "marker", func(string) error {
			assert.Fail(t, "the writer is called", path)
			return nil
		})
		require.ErrorContains(t, err, msg)
		assert.ErrorContains(t, err, path)
	}
	assert.Equal(t, "years of work", read(t, filepath.Join(foreign, "thesis.tex")))
	assert.ElementsMatch(t, []string{"file", "foreign", "here"}, list(t, parent))
}

// What appears at the target while the new directory is filled is not lost.
func TestWriteDirLooksAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir")
	err := WriteDir(path, "marker", func(dir string) error {
		return errors.Join(fill(dir, "new"), os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "precious"), nil, 0o600))
	})
	require.ErrorContains(t, err, "is not empty")
	assert.Equal(t, []string{"precious"}, list(t, path))
	assert.Equal(t, []string{"dir"}, list(t, filepath.Dir(path)))
}

// needsExchange skips where the file system cannot exchange two names.
func needsExchange(t *testing.T) {
	t.Helper()
	a, b := t.TempDir(), t.TempDir()
	if err := exchange(a, b); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("two names cannot be exchanged here: the target may be missing for a moment")
	} else {
		require.NoError(t, err)
	}
}

// At any moment there is a whole directory at the target.
func TestWriteDirConcurrently(t *testing.T) {
	needsExchange(t)
	parent := t.TempDir()
	path := filepath.Join(parent, "dir")
	require.NoError(t, WriteDir(path, "marker", filler("0")))
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for _, c := range []string{"1", "2"} {
		writers.Go(func() {
			for range 20 {
				assert.NoError(t, WriteDir(path, "marker", filler(c)))
			}
		})
	}
	readers.Go(func() {
		for {
			before, err := os.Lstat(path)
			if !assert.NoError(t, err, "there is always one") {
				return
			}
			if _, err := os.ReadFile(filepath.Join(path, "sub/b")); err != nil {
				after, e := os.Lstat(path)
				if !assert.NoError(t, e) || !assert.False(t, os.SameFile(before, after), "torn: %v", err) {
					return
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	writers.Wait()
	close(done)
	readers.Wait()
	filled(t, path)
	assert.Equal(t, []string{"dir"}, list(t, parent))
}

func TestDirOfAKilledProcess(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "dir")
	require.NoError(t, WriteDir(path, "marker", filler("old")))
	killed(t, child(t, "die in dir", path).Run())
	assert.Equal(t, "old", filled(t, path))
	require.Len(t, list(t, parent), 2, "the draft is left")
	require.NoError(t, WriteDir(path, "marker", filler("new")))
	assert.Equal(t, "new", filled(t, path))
	assert.Equal(t, []string{"dir"}, list(t, parent))
}

// Killed at any point of its work, a process leaves a whole directory.
func TestDirOfAProcessKilledAnywhere(t *testing.T) {
	needsExchange(t)
	parent := t.TempDir()
	path := filepath.Join(parent, "dir")
	for i := range 10 {
		cmd := child(t, "write until killed", path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for range i%5 + 1 { // after that many generations, somewhere in the next
			require.True(t, lines.Scan())
			require.Equal(t, "written", lines.Text())
		}
		require.NoError(t, cmd.Process.Kill())
		killed(t, cmd.Wait())
		assert.Contains(t, filled(t, path), "generation ")
	}
	require.NoError(t, WriteDir(path, "marker", filler("last")))
	assert.Equal(t, "last", filled(t, path))
	assert.Equal(t, []string{"dir"}, list(t, parent))
}

// The way without an exchange of names.
func TestReplaceAside(t *testing.T) {
	parent := t.TempDir()
	path, next := filepath.Join(parent, "dir"), filepath.Join(parent, "next")
	require.NoError(t, fill(path, "old"))
	require.NoError(t, fill(next, "new"))
	require.NoError(t, replaceAside(next, path))
	assert.Equal(t, "new", filled(t, path))
	assert.Equal(t, []string{"dir"}, list(t, parent))

	require.Error(t, replaceAside(next, path), "there is no next")
	assert.Equal(t, "new", filled(t, path), "the old one is put back")
	assert.Equal(t, []string{"dir"}, list(t, parent))
}

// A process killed between the two renames leaves only siblings.
func TestDirSetAsideIsPutBack(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "dir")
	require.NoError(t, fill(sibling(path, aside), "old"))
	require.NoError(t, fill(sibling(path, draft), "lost"))
	cause := errors.New("half way")
	err := WriteDir(path, "marker", func(string) error {
		assert.Equal(t, "old", filled(t, path))
		return cause
	})
	require.ErrorIs(t, err, cause)
	assert.Equal(t, "old", filled(t, path))
	assert.Equal(t, []string{"dir"}, list(t, parent))
}

func TestDirSetAsideIsRemovedOnceReplaced(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "dir")
	for i := range 3 {
		require.NoError(t, fill(sibling(path, aside), fmt.Sprint(i)))
	}
	require.NoError(t, fill(path, "current"))
	require.NoError(t, WriteDir(path, "marker", filler("new")))
	assert.Equal(t, "new", filled(t, path))
	assert.Equal(t, []string{"dir"}, list(t, parent))
}
