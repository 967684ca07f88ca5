package fetch

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

// slowly serves body in pieces, so that downloads overlap.
func slowly(body []byte) func(int32, http.ResponseWriter, *http.Request) {
	return func(_ int32, w http.ResponseWriter, _ *http.Request) {
		for from := 0; from < len(body); from += 1 << 18 {
			_, _ = w.Write(body[from:min(from+1<<18, len(body))])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// onlyFile requires that dir holds the file a with the given content and
// nothing else.
func onlyFile(t *testing.T, dir string, body []byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	got, err := os.ReadFile(filepath.Join(dir, "a"))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(body, got))
}

// TestFetchOnce: goroutines that want one file share one download.
func TestFetchOnce(t *testing.T) {
	body := payload()
	url, requests := server(t, slowly(body))
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := Fetcher{}.Fetch(t.Context(), File{URL: url, SHA256: sumOf(body)}, filepath.Join(dir, "a"))
			assert.NoError(t, err)
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, requests.Load())
	onlyFile(t, dir, body)
}

// fetchEnv holds the URL and the checksum for [TestFetchInThisProcess].
const fetchEnv = "OTFUSE_TEST_FETCH_URL"

// TestFetchInThisProcess is what the processes of [TestFetchByProcesses] run.
func TestFetchInThisProcess(t *testing.T) {
	url := os.Getenv(fetchEnv)
	if url == "" {
		t.Skip("runs in a process of its own")
	}
	require.NoError(t, Fetcher{}.Fetch(t.Context(), File{URL: url, SHA256: sumOf(payload())}, "a"))
}

// TestFetchByProcesses: processes that want one file share one download, also
// from a server that knows no ranges.
func TestFetchByProcesses(t *testing.T) {
	body := payload()
	url, requests := server(t, slowly(body))
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestFetchInThisProcess$")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), fetchEnv+"="+url)
			said, err := cmd.CombinedOutput()
			assert.NoError(t, err, "%s", said)
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, requests.Load())
	onlyFile(t, dir, body)
}

// TestFetchExisting: a file that is there is used after its checksum was
// looked at, and replaced where it is torn.
func TestFetchExisting(t *testing.T) {
	body := payload()
	for name, tc := range map[string]struct {
		there    []byte
		sum      string
		requests int32
	}{
		"the file":              {body, sumOf(body), 0},
		"a torn file":           {body[:1000], sumOf(body), 1},
		"another file":          {[]byte("another"), sumOf(body), 1},
		"no checksum to know":   {body, "", 0},
		"no file, no checksum":  {nil, "", 1},
		"no file of this name":  {nil, sumOf(body), 1},
		"an empty, torn file":   {[]byte{}, sumOf(body), 1},
		"the last byte differs": {append(bytes.Clone(body[:len(body)-1]), body[len(body)-1]+1), sumOf(body), 1},
	} {
		url, requests := server(t, serve(body))
		dir := t.TempDir()
		if tc.there != nil {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), tc.there, 0o644))
		}
		require.NoError(t, impatient().Fetch(t.Context(), File{URL: url, SHA256: tc.sum}, filepath.Join(dir, "a")), name)
		assert.Equal(t, tc.requests, requests.Load(), name)
		onlyFile(t, dir, body)
	}
	err := Fetcher{}.Fetch(t.Context(), File{URL: "http://unreachable.invalid/a"}, t.TempDir())
	require.ErrorContains(t, err, "not a regular file")
}

// TestFetchUnverified: without a checksum what an earlier call left is not
// continued, since it may be of another version.
func TestFetchUnverified(t *testing.T) {
	body := payload()
	url, _ := server(t, serve(body))
	dir := written(t, "a.part", []byte("of an older release"))
	require.NoError(t, impatient().Fetch(t.Context(), File{URL: url}, filepath.Join(dir, "a")))
	onlyFile(t, dir, body)
}

// TestFetchLimit: a file that is larger than its limit is refused, whether the
// server says its size or not.
func TestFetchLimit(t *testing.T) {
	body := payload()
	for name, handle := range map[string]func(int32, http.ResponseWriter, *http.Request){
		"size given": serve(body), "no size": slowly(body),
	} {
		url, requests := server(t, handle)
		dst := filepath.Join(t.TempDir(), "a")
		file := File{URL: url, SHA256: sumOf(body), Limit: int64(len(body)) - 1}
		require.ErrorIs(t, impatient().Fetch(t.Context(), file, dst), ErrTooLarge, name)
		assert.EqualValues(t, 1, requests.Load(), name)
		assert.NoFileExists(t, dst, name)
		file.Limit++
		require.NoError(t, impatient().Fetch(t.Context(), file, dst), name)
	}
}

// TestLock: a lock is waited for until the context ends, and the observer is
// told.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	unlock, err := Lock(t.Context(), path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var told []models.Progress
	f := Fetcher{Observe: func(p models.Progress) { told = append(told, p); cancel() }}
	require.ErrorIs(t, f.Fetch(ctx, File{URL: "http://unreachable.invalid/file"}, path), context.Canceled)
	assert.Equal(t, []models.Progress{{Stage: "waiting for another process to fetch", Item: "file"}}, told)
	_, err = Lock(ctx, path)
	require.ErrorIs(t, err, context.Canceled)
	unlock()
	unlock, err = Lock(t.Context(), path)
	require.NoError(t, err)
	unlock()
}
