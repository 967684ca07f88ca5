package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

// payload is what the servers of the tests hold.
func payload() []byte {
	rng := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 3<<20)
	for i := range b {
		b[i] = byte(rng.IntN(256))
	}
	return b
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// A handler answers the n-th request.
type handler = func(n int32, w http.ResponseWriter, r *http.Request)

// server answers with handle and counts the requests.
func server(t *testing.T, handle handler) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(requests.Add(1), w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/archive.tar.gz", requests
}

func serve(body []byte) func(int32, http.ResponseWriter, *http.Request) {
	return func(_ int32, w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

// impatient is the fetcher of programs with shorter pauses.
func impatient() Fetcher { return Fetcher{Pause: time.Millisecond} }

// written writes a file into a fresh folder and returns the folder.
func written(t *testing.T, name string, body []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), body, 0o644))
	return dir
}

func TestFetch(t *testing.T) {
	body := payload()
	url, requests := server(t, serve(body))
	dst := filepath.Join(t.TempDir(), "new", "archive.tar.gz")
	f := impatient()
	var told []models.Progress
	f.Observe = func(p models.Progress) { told = append(told, p) }
	require.NoError(t, f.Fetch(t.Context(), File{URL: url, SHA256: strings.ToUpper(sumOf(body))}, dst))
	got, err := os.ReadFile(dst)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(body, got))
	assert.NoFileExists(t, dst+".part")
	assert.EqualValues(t, 1, requests.Load())
	size := len(body)
	require.GreaterOrEqual(t, len(told), 3)
	assert.Equal(t, models.Progress{Stage: "downloading", Item: "archive.tar.gz", Done: size, Total: size},
		told[len(told)-1])
	for i := 1; i < len(told); i++ {
		assert.GreaterOrEqual(t, told[i].Done, told[i-1].Done)
	}
}

// A connection that breaks every 500,000 bytes is continued, not begun again.
func TestFetchContinues(t *testing.T) {
	body := payload()
	var ranges []string
	url, _ := server(t, func(_ int32, w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		from := 0
		if s, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
			from, _ = strconv.Atoi(strings.TrimSuffix(s, "-"))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(body)-1, len(body)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(body[from:min(from+1_000_000, len(body))])
		// returning before Content-Length bytes closes the connection
	})
	dst := filepath.Join(t.TempDir(), "a")
	require.NoError(t, impatient().Fetch(t.Context(), File{URL: url, SHA256: sumOf(body)}, dst))
	got, err := os.ReadFile(dst)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(body, got))
	assert.Equal(t, []string{"", "bytes=1000000-", "bytes=2000000-", "bytes=3000000-"}, ranges)
}

// What an earlier process left is used, whatever it is.
func TestFetchFindsAPart(t *testing.T) {
	body := payload()
	other := bytes.Repeat([]byte{7}, len(body))
	for name, tc := range map[string]struct {
		part     []byte
		requests int32
	}{
		"a beginning":       {body[:1<<20], 1},
		"all of it":         {body, 1}, // the server says that nothing is missing
		"too much":          {append(bytes.Clone(body), 1), 2},
		"something else":    {other[:1<<20], 2}, // found out by the checksum
		"all something":     {other, 2},
		"an empty file":     {nil, 1},
		"a byte of nothing": {[]byte{body[0] + 1}, 2},
	} {
		url, requests := server(t, serve(body))
		dst := filepath.Join(written(t, "a.part", tc.part), "a")
		require.NoError(t, impatient().Fetch(t.Context(), File{URL: url, SHA256: sumOf(body)}, dst), name)
		got, err := os.ReadFile(dst)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(body, got), name)
		assert.Equal(t, tc.requests, requests.Load(), name)
	}
}

// A server without ranges sends everything again.
func TestFetchWithoutRanges(t *testing.T) {
	body := payload()
	url, requests := server(t, func(_ int32, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	dst := filepath.Join(written(t, "a.part", body[:1000]), "a")
	require.NoError(t, impatient().Fetch(t.Context(), File{URL: url, SHA256: sumOf(body)}, dst))
	got, err := os.ReadFile(dst)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(body, got))
	assert.EqualValues(t, 1, requests.Load())
}

func TestFetchWrongChecksum(t *testing.T) {
	url, requests := server(t, serve(payload()))
	dst := filepath.Join(t.TempDir(), "a")
	err := impatient().Fetch(t.Context(), File{URL: url, SHA256: sumOf(nil)}, dst)
	require.ErrorIs(t, err, ErrChecksum)
	assert.ErrorContains(t, err, url)
	assert.EqualValues(t, 1, requests.Load())
	assert.NoFileExists(t, dst)
	assert.NoFileExists(t, dst+".part")
}

func TestFetchServerErrors(t *testing.T) {
	body := payload()
	for _, tc := range []struct {
		status   int
		failures int32 // before the server recovers
		requests int32
		want     string
	}{
		{500, 3, 4, ""}, {503, 1, 2, ""}, {429, 2, 3, ""},
		{502, 100, 4, "502 Bad Gateway"}, {404, 100, 1, "404 Not Found"}, {403, 100, 1, "403 Forbidden"},
		{416, 100, 4, "cannot be continued"},
	} {
		url, requests := server(t, func(n int32, w http.ResponseWriter, r *http.Request) {
			if n <= tc.failures {
				w.WriteHeader(tc.status)
				return
			}
			serve(body)(n, w, r)
		})
		dst := filepath.Join(t.TempDir(), "a")
		err := impatient().Fetch(t.Context(), File{URL: url, SHA256: sumOf(body)}, dst)
		if tc.want == "" {
			require.NoError(t, err, "%d", tc.status)
			assert.FileExists(t, dst)
		} else {
			require.ErrorContains(t, err, tc.want)
			assert.NoFileExists(t, dst)
		}
		assert.Equal(t, tc.requests, requests.Load(), "%d", tc.status)
	}
}

// A cancelled download stops, keeps what it has, and goes on from there.
func TestFetchCancelled(t *testing.T) {
	body := payload()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url, requests := server(t, func(n int32, w http.ResponseWriter, r *http.Request) {
		if n > 1 {
			serve(body)(n, w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:2<<20])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	dst := filepath.Join(t.TempDir(), "a")
	f := impatient()
	f.Observe = func(models.Progress) { cancel() }
	require.ErrorIs(t, f.Fetch(ctx, File{URL: url, SHA256: sumOf(body)}, dst), context.Canceled)
	assert.NoFileExists(t, dst)
	assert.EqualValues(t, 1, requests.Load())
	part, err := os.ReadFile(dst + ".part")
	require.NoError(t, err)
	require.NotEmpty(t, part)
	assert.True(t, bytes.HasPrefix(body, part))

	first := -1
	f.Observe = func(p models.Progress) {
		if first < 0 {
			first = p.Done
		}
	}
	require.NoError(t, f.Fetch(t.Context(), File{URL: url, SHA256: sumOf(body)}, dst))
	assert.Greater(t, first, len(part))
	assert.NoFileExists(t, dst+".part")
}

func TestFetchCancelledWhileItWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, requests := server(t, func(_ int32, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		cancel()
	})
	f := Fetcher{}
	f.Pause = time.Hour
	require.ErrorIs(t, f.Fetch(ctx, File{URL: url}, filepath.Join(t.TempDir(), "a")), context.Canceled)
	assert.EqualValues(t, 1, requests.Load())
}

// A server that falls silent is given up, and asked again for the rest.
func TestFetchStalled(t *testing.T) {
	body := payload()
	url, requests := server(t, func(n int32, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body[:1000])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		serve(body)(n, w, r)
	})
	f := impatient()
	f.Stall, f.Attempts = 300*time.Millisecond, 50 // a busy machine may stall too
	require.NoError(t, f.Fetch(t.Context(), File{URL: url, SHA256: sumOf(body)}, filepath.Join(t.TempDir(), "a")))
	assert.GreaterOrEqual(t, requests.Load(), int32(2))
}

// Without a network nothing is tried twice.
func TestFetchWithoutNetwork(t *testing.T) {
	tries := 0
	f := impatient()
	dial := func(context.Context, string, string) (net.Conn, error) {
		tries++
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("network is unreachable")}
	}
	f.Client = &http.Client{Transport: &http.Transport{DialContext: dial}}
	err := f.Fetch(t.Context(), File{URL: "http://unreachable.invalid/a"}, filepath.Join(t.TempDir(), "a"))
	require.ErrorContains(t, err, "network is unreachable")
	assert.Equal(t, 1, tries)
}

func TestFetchRefusesTheAbsurd(t *testing.T) {
	url, _ := server(t, func(_ int32, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000000000")
		w.WriteHeader(http.StatusOK)
	})
	require.ErrorIs(t, impatient().Fetch(t.Context(), File{URL: url}, filepath.Join(t.TempDir(), "a")), ErrTooLarge)

	file := written(t, "file", nil)
	require.Error(t, impatient().Fetch(t.Context(), File{URL: url}, filepath.Join(file, "file", "a")))
}
