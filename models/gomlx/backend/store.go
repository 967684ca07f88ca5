//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	name   string // tells builds apart in a file name
	sha256 string // of the plugin; empty where it is not known before the plugin is fetched
	bytes  int64  // to download
	// write writes the plugin to w; scratch is an empty directory to use.
	write func(ctx context.Context, w io.Writer, scratch string) error
}

// cpuStore is the store of a directory.
func cpuStore(dir string, o observer) *pluginStore {
	s := &pluginStore{dir: dir}
	if runtime.GOARCH == "amd64" {
		s.sources = append(s.sources, pinnedCPUWheel().source(o))
	}
	s.sources = append(s.sources, cpuRelease().source(o))
	return s
}

// path is where the store keeps the plugin of src. go-xla reads the "cpu" in it.
func (s *pluginStore) path(src source) string {
	return filepath.Join(s.dir, "pjrt_c_api_cpu_"+src.name+"_plugin.so")
}

// sumPath is where the store keeps the SHA-256 sum of a plugin that is not pinned.
func (s *pluginStore) sumPath(src source) string { return s.path(src) + ".sha256" }

// has tells whether the plugin of src is in the store. One without a sum, which an
// older version left, does not count.
func (s *pluginStore) has(src source) bool {
	return isFile(s.path(src)) && (src.sha256 != "" || isFile(s.sumPath(src)))
}

// check compares the plugin of src with its SHA-256 sum.
func (s *pluginStore) check(src source) error {
	sum := src.sha256
	if sum == "" {
		text, err := os.ReadFile(s.sumPath(src))
		if err != nil {
			return err
		}
		sum = string(text)
	}
	return checkFile(s.path(src), sum)
}

// remove takes the plugin of src out of the store.
func (s *pluginStore) remove(src source) error {
	err := os.Remove(s.path(src))
	if src.sha256 == "" {
		err = errors.Join(err, os.Remove(s.sumPath(src)))
	}
	return err
}

// fetch returns the source whose plugin is in the store, and fetches that of src if
// there is none. Of several processes one fetches and the others wait for it.
func (s *pluginStore) fetch(ctx context.Context, src source) (got source, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return src, err
	}
	unlock, err := fetch.Lock(ctx, filepath.Join(s.dir, "plugins"))
	if err != nil {
		return src, err
	}
	defer unlock()
	for _, other := range s.sources { // another process may have been first, with any source
		if s.has(other) {
			return other, nil
		}
	}
	scratch := filepath.Join(s.dir, "scratch")
	if err := errors.Join(os.RemoveAll(scratch), os.Mkdir(scratch, 0o755)); err != nil {
		return src, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	return src, s.write(ctx, src, scratch)
}

// write puts the plugin of src into the store, and its sum before it.
func (s *pluginStore) write(ctx context.Context, src source, scratch string) error {
	return atomicfile.WriteFile(s.path(src), func(w io.Writer) error {
		hash := sha256.New()
		if err := src.write(ctx, io.MultiWriter(w, hash), scratch); err != nil {
			return err
		}
		sum := hex.EncodeToString(hash.Sum(nil))
		if src.sha256 == "" {
			return os.WriteFile(s.sumPath(src), []byte(sum), 0o644)
		}
		if sum != src.sha256 {
			return fmt.Errorf("%s: %w: its plugin has the SHA-256 sum %s, want %s", src.name, errChanged, sum, src.sha256)
		}
		return nil
	})
}

// copyPlugin copies a plugin of a credible size.
func copyPlugin(w io.Writer, r io.Reader) error {
	n, err := io.Copy(w, io.LimitReader(r, pluginLimit+1))
	if err == nil && n > pluginLimit {
		return fmt.Errorf("the plugin has more than %d bytes", int64(pluginLimit))
	}
	return err
}
