package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "deep", "file")
	require.NoError(t, WriteFile(path, text("one")))
	assert.Equal(t, "one", read(t, path))
	require.NoError(t, WriteFile(path, text("two")))
	assert.Equal(t, "two", read(t, path))
	require.NoError(t, WriteFile(path, text("")))
	assert.Empty(t, read(t, path))
	assert.Equal(t, []string{"file"}, list(t, filepath.Dir(path)))
}

func TestWriteFileThatFailsKeepsTheOld(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	cause := errors.New("half way")
	failing := func(w io.Writer) error {
		if _, err := io.WriteString(w, strings.Repeat("x", 1<<20)); err != nil {
			return err
		}
		return cause
	}
	err := WriteFile(path, failing)
	require.ErrorIs(t, err, cause)
	assert.ErrorContains(t, err, path)
	assert.Empty(t, list(t, dir))

	require.NoError(t, WriteFile(path, text("old")))
	require.ErrorIs(t, WriteFile(path, failing), cause)
	assert.Equal(t, "old", read(t, path))
	assert.Equal(t, []string{"file"}, list(t, dir))
}

func TestWriteFileThatPanicsKeepsTheOld(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, WriteFile(path, text("old")))
	assert.PanicsWithValue(t, "boom", func() {
		_ = WriteFile(path, func(io.Writer) error { panic("boom") })
	})
	assert.Equal(t, "old", read(t, path))
	assert.Equal(t, []string{"file"}, list(t, dir))
}

func TestWriteFileFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
	require.NoError(t, os.Symlink("file", link))
	require.NoError(t, WriteFile(link, text("new")))
	assert.Equal(t, "new", read(t, file))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeSymlink)
}

func TestWriteFileRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	for path, msg := range map[string]string{
		dir:                               "not a regular file",
		filepath.Join(dir, "dangling"):    "not a regular file",
		os.DevNull:                        "not a regular file",
		filepath.Join(file, "below"):      "not a directory",
		filepath.Join(file, "a", "b"):     "not a directory",
		filepath.Join(dir, "nul\x00byte"): "invalid argument",
	} {
		err := WriteFile(path, func(io.Writer) error {
			assert.Fail(t, "the writer is called", path)
			return nil
		})
		require.ErrorContains(t, err, msg)
		assert.ErrorContains(t, err, path)
	}
	assert.Equal(t, []string{"dangling", "file"}, list(t, dir))
}

func TestUnwritableParent(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write anywhere")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o500))
	path := filepath.Join(dir, "target")
	for _, err := range []error{
		WriteFile(path, text("x")),
		WriteDir(path, "marker", func(string) error { return nil }),
	} {
		require.ErrorIs(t, err, os.ErrPermission)
		assert.ErrorContains(t, err, path)
	}
}

// Readers see one of the texts whole, whoever of the writers is at it.
func TestWriteFileConcurrently(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	whole := func(c string) string { return strings.Repeat(c, 100_000) }
	require.NoError(t, WriteFile(path, text(whole("0"))))
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for _, c := range []string{"1", "2", "3"} {
		writers.Go(func() {
			for range 20 {
				assert.NoError(t, WriteFile(path, text(whole(c))))
			}
		})
	}
	readers.Go(func() {
		for {
			b, err := os.ReadFile(path)
			if !assert.NoError(t, err) || !assert.Len(t, b, 100_000) ||
				!assert.Equal(t, whole(string(b[:1])), string(b)) {
				return
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
	assert.Equal(t, []string{"file"}, list(t, dir))
}

func TestFileOfAKilledProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, WriteFile(path, text("old")))
	killed(t, child(t, "die in file", path).Run())
	assert.Equal(t, "old", read(t, path))
	require.Len(t, list(t, dir), 2, "the draft is left")
	require.NoError(t, WriteFile(path, text("new")))
	assert.Equal(t, "new", read(t, path))
	assert.Equal(t, []string{"file"}, list(t, dir))
}

// A draft that somebody is filling is nobody else's to remove.
func TestSweepSparesTheLiving(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, WriteFile(path, func(w io.Writer) error {
		if err := WriteFile(path, text("inner")); err != nil {
			return err
		}
		assert.Equal(t, "inner", read(t, path))
		assert.Len(t, list(t, dir), 2)
		return text("outer")(w)
	}))
	assert.Equal(t, "outer", read(t, path))
	assert.Equal(t, []string{"file"}, list(t, dir))
}

func TestSweepSparesWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	stale := filepath.Base(sibling(path, draft))
	spared := []string{".file.draft-notes", ".file.draft-", ".file.draft-0123456789ABCDEF",
		".file.draft-+123456789abcdef", stale + "0", ".other.draft-0123456789abcdef", "file.draft-0123456789abcdef"}
	for _, name := range append(spared, stale) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, os.Symlink(".file.draft-notes", filepath.Join(dir, ".file.draft-0000000000000000")))
	require.NoError(t, WriteFile(path, text("new")))
	assert.ElementsMatch(t, append(spared, "file", ".file.draft-0000000000000000"), list(t, dir))
}
