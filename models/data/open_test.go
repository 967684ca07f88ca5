package data

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// web is a network that holds one body, or nothing.
type web struct {
	body     []byte
	err      error
	requests []string
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.requests = append(w.requests, r.URL.String())
	if w.err != nil {
		return nil, w.err
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, ContentLength: int64(len(w.body)),
		Body: io.NopCloser(bytes.NewReader(w.body)), Request: r,
	}, nil
}

// home gives the test a cache and a data folder of its own.
func home(t *testing.T) (cache, env string) {
	t.Helper()
	dir, env := t.TempDir(), t.TempDir()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(name, dir)
	}
	t.Setenv("OTFUSE_DATA", env)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	return filepath.Join(cache, "otfuse"), env
}

func bins(t *testing.T, labels int) []byte {
	return tarGz(t, content{"data_batch_1.bin", records(1, 0, labels)}, content{"test_batch.bin", records(1, 0, 1)})
}

func TestOpenPrefers(t *testing.T) {
	cache, env := home(t)
	dir := t.TempDir()
	o := Options{Client: &http.Client{Transport: &web{err: errors.New("the test asked the network")}}}
	// From the last choice to the first: every step adds a better one.
	for _, step := range []struct {
		dir   string
		files []content
		o     Options
		label string
	}{
		{cache, []content{{"cifar10-exact-6102-bin.tar.gz", bins(t, 2)}}, o, "CIFAR-10 (3 images)"},
		{env, []content{{"cifar10-exact-6102-bin.tar.gz", bins(t, 3)}}, o, "CIFAR-10 (4 images)"},
		{env, []content{{"cifar10-jpeg-q75.tar.gz", tarGz(t, cifarJPEGFiles(t)...)}}, o, "CIFAR-10 (JPEG q75, 4 images)"},
		{env, []content{
			{"cifar-10-batches-bin/data_batch_1.bin", records(1, 0, 4)},
			{"cifar-10-batches-bin/test_batch.bin", records(1, 0, 1)},
		}, o, "CIFAR-10 (5 images)"},
		{env, []content{{"cifar-10-binary.tar.gz", bins(t, 5)}}, o, "CIFAR-10 (6 images)"},
		{dir, []content{{"cifar-10-binary.tar.gz", bins(t, 6)}}, Options{Dir: dir, Client: o.Client}, "CIFAR-10 (7 images)"},
	} {
		write(t, step.dir, step.files...)
		train, test, label, err := Open(t.Context(), "cifar10", step.o)
		require.NoError(t, err)
		assert.Equal(t, step.label, label)
		assert.NotZero(t, train.Len())
		assert.NotZero(t, test.Len())
	}
}

func TestOpenDownloads(t *testing.T) {
	cache, _ := home(t)
	w := &web{body: bins(t, 1)}
	o := Options{Client: &http.Client{Transport: w}}
	_, _, _, err := Open(t.Context(), "cifar10", o)
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, ErrChecksum) // it is not the official archive
	assert.Equal(t, []string{"https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"}, w.requests)

	s, err := lookupSource("cifar10", imageSources())
	require.NoError(t, err)
	s.remote.SHA256 = fmt.Sprintf("%x", sha256.Sum256(w.body))
	where, e, err := s.locate(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(cache, "cifar-10-binary.tar.gz"), where)
	train, _, err := e.open(t.Context(), where, o)
	require.NoError(t, err)
	assert.Equal(t, 1, train.Len())

	dir := t.TempDir()
	w.requests = nil
	where, _, err = s.locate(t.Context(), Options{Dir: dir, Client: o.Client})
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(cache, "cifar-10-binary.tar.gz"), where)
	assert.Empty(t, w.requests, "what has been downloaded is found")
	require.NoError(t, os.Remove(where))
	where, _, err = s.locate(t.Context(), Options{Dir: dir, Client: o.Client})
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "cifar-10-binary.tar.gz"), where)
}

// TestFindTorn: a download that is torn is not used: another form of the set
// is, or the archive is downloaded again.
func TestFindTorn(t *testing.T) {
	cache, _ := home(t)
	w := &web{err: &net.DNSError{Err: "no such host"}}
	o := Options{Client: &http.Client{Transport: w}}
	s, err := lookupSource("cifar10", imageSources())
	require.NoError(t, err)
	body := bins(t, 1)
	s.remote.SHA256 = fmt.Sprintf("%x", sha256.Sum256(body))
	torn := filepath.Join(write(t, cache, content{"cifar-10-binary.tar.gz", body[:100]}), "cifar-10-binary.tar.gz")

	_, _, err = s.locate(t.Context(), o)
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, torn+" is torn")
	require.ErrorContains(t, err, "no such host")

	write(t, cache, content{"cifar10-jpeg-q75.tar.gz", nil})
	where, _, err := s.locate(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(cache, "cifar10-jpeg-q75.tar.gz"), where)
	require.NoError(t, os.Remove(where))

	w.body, w.err = body, nil
	where, e, err := s.locate(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, torn, where)
	train, _, err := e.open(t.Context(), where, o)
	require.NoError(t, err)
	assert.Equal(t, 1, train.Len())
}

func TestOpenWithoutNetwork(t *testing.T) {
	home(t)
	offline := &http.Client{Transport: &web{err: &net.DNSError{Err: "no such host"}}}
	for _, name := range []string{"cifar10", "cifar100", "tinyimagenet"} {
		_, _, _, err := Open(t.Context(), name, Options{Client: offline})
		require.ErrorIs(t, err, ErrUnavailable)
		assert.ErrorContains(t, err, "no such host")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Find(ctx, "cifar100", Options{Client: offline})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ErrUnavailable)
}

// TestFindTexts: texts are found by name and not opened here.
func TestFindTexts(t *testing.T) {
	_, env := home(t)
	w := &web{body: []byte("not the archive")}
	o := Options{Client: &http.Client{Transport: w}}
	_, err := Find(t.Context(), "wiki2016", o)
	require.ErrorIs(t, err, ErrUnavailable)
	assert.Empty(t, w.requests)
	_, err = Find(t.Context(), "wikitext2", o)
	require.ErrorIs(t, err, ErrChecksum)
	for _, name := range []string{"wikitext-2.tar.gz", "wikitext-2-v1.zip"} { // the better one last
		write(t, env, content{name, nil})
		where, err := Find(t.Context(), "wikitext2", o)
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(env, name), where)
	}
	assert.NotContains(t, Names(), "wikitext2")
}

func TestOpenNames(t *testing.T) {
	home(t)
	_, _, _, err := Open(t.Context(), "mnist", Options{})
	require.EqualError(t, err, `data: no set is called "mnist"; there are cifar10, cifar100, tinyimagenet, imagefolder`)
	_, err = Find(t.Context(), "shapes", Options{})
	require.EqualError(t, err,
		`data: no set is called "shapes"; there are cifar10, cifar100, tinyimagenet, wikitext2, wiki2016`)
	_, _, _, err = Open(t.Context(), "imagefolder", Options{})
	require.ErrorContains(t, err, "imagefolder needs the folder")

	t.Setenv("OTFUSE_DATA", filepath.Join(t.TempDir(), "moved"))
	_, _, _, err = Open(t.Context(), "cifar10", Options{})
	require.ErrorContains(t, err, "OTFUSE_DATA is ")
}

func TestOpenImages(t *testing.T) {
	_, env := home(t)
	dir := stored(t, folderFiles(t)...)["folder"]
	train, _, label, err := Open(t.Context(), "imagefolder", Options{Dir: dir, Size: Size{H: 8, W: 6}})
	require.NoError(t, err)
	assert.Equal(t, "images of folder", label)
	assert.Equal(t, []int{3, 8, 6}, []int{train.C, train.H, train.W})

	write(t, env, content{"tiny-imagenet-20cls.tar.gz", tarGz(t, tinyFiles(t)...)})
	train, _, label, err = Open(t.Context(), "tinyimagenet", Options{})
	require.NoError(t, err)
	assert.Equal(t, "Tiny ImageNet (4 images)", label)
	assert.Equal(t, []int{3, 64, 64}, []int{train.C, train.H, train.W})
}

func TestLabels(t *testing.T) {
	s := source{title: "CIFAR-10", full: 60_000}
	assert.Equal(t, "CIFAR-10", s.label(edition{}, 60_000))
	assert.Equal(t, "CIFAR-10 (JPEG q75)", s.label(edition{note: "JPEG q75"}, 60_000))
	assert.Equal(t, "CIFAR-10 (6102 images)", s.label(edition{}, 6102))
}
