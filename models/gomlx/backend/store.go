//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/dataset/fetch"
)

// pluginLimit is the most bytes that a plugin may have, against an archive that
// never ends.
const pluginLimit = 2 << 30

// pluginStore is a directory that holds at most one plugin of each source.
type pluginStore struct {
	dir     string
	sources []source // in the order to try them
}

// source is a place that a CPU plugin comes from.
type source struct {
	name string // tells builds apart in a file name
	// write writes the plugin to w; scratch is an empty directory to use.
	write func(ctx context.Context, w io.Writer, scratch string) error
}

// userStore is the store in the user's cache directory.
func userStore(o observer) (*pluginStore, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	s := &pluginStore{dir: filepath.Join(cache, "otfuse", "xla")}
	s.sources = []source{release{lookup: lookupRelease}.source(o)}
	if runtime.GOARCH == "amd64" {
		s.sources = append(s.sources, pinnedWheel().source(o))
	}
	return s, nil
}

// path is where the store keeps the plugin of src. go-xla reads the "cpu" in it.
func (s *pluginStore) path(src source) string {
	return filepath.Join(s.dir, "pjrt_c_api_cpu_"+src.name+"_plugin.so")
}

// fetch returns the path of the plugin of src, which it fetches if it is not in
// the store. Of several processes one fetches and the others wait for it.
func (s *pluginStore) fetch(ctx context.Context, src source) (path string, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := fetch.Lock(ctx, filepath.Join(s.dir, "plugins"))
	if err != nil {
		return "", err
	}
	defer unlock()
	for _, other := range s.sources { // another process may have been first, with any source
		if path := s.path(other); isFile(path) {
			return path, nil
		}
	}
	scratch := filepath.Join(s.dir, "scratch")
	if err := errors.Join(os.RemoveAll(scratch), os.Mkdir(scratch, 0o755)); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	path = s.path(src)
	if err := atomicfile.WriteFile(path, func(w io.Writer) error { return src.write(ctx, w, scratch) }); err != nil {
		return "", err
	}
	return path, nil
}

// copyPlugin copies a plugin of a credible size.
func copyPlugin(w io.Writer, r io.Reader) error {
	n, err := io.Copy(w, io.LimitReader(r, pluginLimit+1))
	if err == nil && n > pluginLimit {
		return fmt.Errorf("the plugin has more than %d bytes", int64(pluginLimit))
	}
	return err
}
