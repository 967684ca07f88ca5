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
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
func testWheel(t *testing.T) (w cpuWheel, path string) {
	path = writeWheel(t, map[string]string{"plug/pjrt_c_api_cpu_plugin.so": pluginText})
	sum, err := fileSHA256(path)
	require.NoError(t, err)
	return cpuWheel{pinnedWheel: pinnedWheel{requirement: "plug==1", sha256: sum},
		member: "plug/pjrt_c_api_cpu_plugin.so", plugin: sumOf(pluginText)}, path
}

// sumOf is the SHA-256 sum of a text.
func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// writeWheel writes a wheel of files.
func writeWheel(t *testing.T, files map[string]string) (path string) {
	var buf bytes.Buffer
	z := zipfile.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := z.Create(name)
		require.NoError(t, err)
		_, err = io.WriteString(f, files[name])
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	path = filepath.Join(t.TempDir(), "plug-1-py3-none-any.whl")
	require.NoError(t, os.WriteFile(path, buf.Bytes(), 0o644))
	return path
}

// fakePip puts a python3 into the path that runs the shell lines; $dest is
// where the wheel must go. It returns a file with a line for each call.
func fakePip(t *testing.T, shell string) (calls string) {
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$@\" >>'" + calls + "'\nfor dest; do :; done\n" + shell + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "python3"), []byte(script), 0o755))
	t.Setenv("VIRTUAL_ENV", "")
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
		assert.Equal(t, src.name, got.name)
		require.NoError(t, s.check(src))
		assert.Equal(t, pluginText, content(t, s, src))
	}
	said, err := os.ReadFile(calls)
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(said), "\n"), "pip was called for a plugin that is there")
	assert.Contains(t, string(said), "--require-hashes")
	assert.Regexp(t, `^-I -m pip `, string(said), "the folder's modules and $PYTHONPATH must not be seen")
	left, err := filepath.Glob(filepath.Join(s.dir, "*"))
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{s.path(src), filepath.Join(s.dir, "plugins.lock")}, left)
}

func TestWheelRefused(t *testing.T) {
	w, path := testWheel(t)
	other := filepath.Join(t.TempDir(), "other.whl")
	require.NoError(t, os.WriteFile(other, []byte("another wheel"), 0o644))
	for name, c := range map[string]struct{ shell, member, plugin, want string }{
		"wrong hash":   {"cp '" + other + "' \"$dest\"", w.member, w.plugin, "SHA-256"},
		"no wheel":     {":", w.member, w.plugin, "0 wheels, want 1"},
		"two wheels":   {"cp '" + path + "' '" + other + "' \"$dest\"", w.member, w.plugin, "2 wheels, want 1"},
		"pip fails":    {"echo a lot; echo no route >&2; exit 3", w.member, w.plugin, "exit status 3 no route"},
		"no member":    {"cp '" + path + "' \"$dest\"", "plug/other.so", w.plugin, "plug/other.so"},
		"wrong plugin": {"cp '" + path + "' \"$dest\"", w.member, sumOf("another"), errChanged.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			fakePip(t, c.shell)
			w := w
			w.member, w.plugin = c.member, c.plugin
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
	t.Setenv("VIRTUAL_ENV", "")
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
		digest string // of the archive if empty
		want   string
	}{
		"good":         {http.StatusOK, good, "", ""},
		"missing":      {http.StatusNotFound, good, "", "404"},
		"torn":         {http.StatusOK, torn, "", "unexpected EOF"},
		"no plugin":    {http.StatusOK, archiveOf(t, "README", "read me"), "", "holds no CPU plugin"},
		"no gzip":      {http.StatusOK, []byte("<html>please log in</html>"), "", "gzip"},
		"no sum":       {http.StatusOK, good, "md5:0", "has no SHA-256 sum"},
		"another file": {http.StatusOK, good, "sha256:" + sumOf("another"), fetch.ErrChecksum.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			digest := c.digest
			if digest == "" {
				digest = "sha256:" + sumOf(string(c.body))
			}
			src := releaseServer(t, c.status, c.body, digest).source(func(models.Progress) {})
			s := storeOf(t, src)
			_, err := s.fetch(t.Context(), src)
			if c.want == "" {
				require.NoError(t, err)
				assert.Equal(t, pluginText, content(t, s, src))
				require.NoError(t, s.check(src))
				require.NoError(t, os.WriteFile(s.path(src), []byte("another plugin"), 0o644))
				require.ErrorIs(t, s.check(src), errChanged)
				return
			}
			require.ErrorContains(t, err, c.want)
			assert.Empty(t, content(t, s, src))
		})
	}
}

// releaseServer serves the description of a release and its archive.
func releaseServer(t *testing.T, status int, archive []byte, digest string) release {
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/archive" {
			w.WriteHeader(status)
			_, _ = w.Write(archive)
			return
		}
		name := "pjrt_cpu_" + runtime.GOOS + "_" + runtime.GOARCH + ".tar.gz"
		_, _ = fmt.Fprintf(w, `{"assets": [{"name": "other"}, {"name": %q, "digest": %q, "browser_download_url": %q}]}`,
			name, digest, server.URL+"/archive")
	}))
	t.Cleanup(server.Close)
	return release{server.URL}
}

func TestReleaseLookup(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"no asset": {`{"assets": []}`, "it has no pjrt_cpu_"},
		"no JSON":  {"<html>", "invalid character"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, c.answer)
		}))
		_, err := release{server.URL}.archive(t.Context())
		require.ErrorContains(t, err, c.want, name)
		server.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := release{"http://127.0.0.1:9"}.archive(ctx)
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
	look := &search{observe: func(models.Progress) {}}
	t.Run("forbidden", func(t *testing.T) {
		t.Setenv(xla.NoAutoInstallEnv, "")
		_, err := look.openStored(t.Context(), s, "")
		require.ErrorContains(t, err, xla.NoAutoInstallEnv)
		assert.NoDirExists(t, s.dir)
	})
	t.Run("fetches until one works", func(t *testing.T) {
		_, err := look.openStored(t.Context(), s, "")
		require.ErrorContains(t, err, "first: ")
		require.ErrorContains(t, err, "last: ")
		assert.Empty(t, content(t, s, first))
		assert.Equal(t, pluginText, content(t, s, last))
	})
	t.Run("does not fetch again", func(t *testing.T) {
		before, err := os.Stat(s.path(last))
		require.NoError(t, err)
		_, err = look.openStored(t.Context(), s, "")
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
	look := &search{observe: func(models.Progress) {}}
	s := cpuStore(systemPlaces().cache, look.observe)
	b, err := look.openStored(t.Context(), s, "")
	if err != nil {
		t.Skipf("no XLA plugin can be had here: %v", err)
	}
	b.Finalize()
	for _, src := range s.sources {
		if !s.has(src) {
			continue
		}
		dir := filepath.Join(t.TempDir(), "cuda, nvidia and rocm")
		require.NoError(t, os.Mkdir(dir, 0o755))
		path := filepath.Join(dir, filepath.Base(s.path(src)))
		require.NoError(t, os.Symlink(s.path(src), path))
		b, err := openFile(path, "")
		require.NoError(t, err)
		assert.Equal(t, "xla", b.Name())
		b.Finalize()
	}
}
