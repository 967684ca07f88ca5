//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/pjrt"
)

// disableAutoInstall keeps go-xla from going to the network, and from failing
// if that fails, each time a plugin is opened by its name.
func disableAutoInstall() { xla.EnableAutoInstall(false) }

// openXLA returns a backend on an installed plugin of the kind, on one in the
// cache or on one just fetched. The error says why there is none.
func openXLA(ctx context.Context, kind string, o observer) (compute.Backend, error) {
	for _, name := range installed(kind, o) {
		b, err := openConfig("xla:" + name)
		if err == nil {
			return b, nil
		}
		o.notice("installed XLA plugin passed over: %v", err)
	}
	store, err := userStore(o)
	if err != nil {
		return nil, fmt.Errorf("XLA: %w", err)
	}
	b, err := openStored(ctx, store)
	if err != nil {
		return nil, fmt.Errorf("XLA: %w", err)
	}
	if gpus, _ := filepath.Glob("/dev/nvidia[0-9]*"); kind == anyPlugin && len(gpus) > 0 {
		o.notice("NOTICE: there is a GPU but no working XLA plugin for CUDA, which go-xla's pjrt_installer installs")
	}
	return b, nil
}

// installed lists the plugins of a kind that go-xla finds, the best first.
func installed(kind string, o observer) []string {
	var names []string
	if err := recovered(func() error {
		names = slices.Clone(xla.GetAvailablePlugins())
		return nil
	}); err != nil {
		// A single plugin that cannot be loaded hides all the others.
		o.notice("installed XLA plugins passed over, one of them is broken: %v", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return kind != anyPlugin && name != kind && !strings.HasPrefix(name, kind+"_")
	})
	rank := func(name string) int {
		for i, prefix := range []string{"cuda", "rocm", cpuPlugin} {
			if strings.HasPrefix(name, prefix) {
				return i
			}
		}
		return 3
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	return names
}

// openStored opens the first plugin in the store that works. Only if it holds
// none does it fetch one, so a second start never needs the network.
func openStored(ctx context.Context, s *pluginStore) (compute.Backend, error) {
	var failed []error
	for _, src := range s.sources {
		if path := s.path(src); isFile(path) {
			b, err := openFile(path)
			if err == nil {
				return b, nil
			}
			failed = append(failed, fmt.Errorf("%w (remove the file to fetch it anew)", err))
		}
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	if _, off := os.LookupEnv(xla.NoAutoInstallEnv); off {
		return nil, fmt.Errorf("no plugin is installed and $%s forbids to fetch one", xla.NoAutoInstallEnv)
	}
	for i, src := range s.sources {
		path, err := s.fetch(ctx, src)
		if err == nil {
			var b compute.Backend
			if b, err = openFile(path); err == nil {
				return b, nil
			}
			if i < len(s.sources)-1 { // the last one stays: it would come back the same at each start
				err = errors.Join(err, os.Remove(path))
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed = append(failed, fmt.Errorf("%s: %w", src.name, err))
	}
	return nil, fmt.Errorf("no plugin could be fetched: %w", errors.Join(failed...))
}

// openFile opens the CPU plugin at an absolute path. A comma in the path would
// end it, and a directory named after a GPU maker would make go-xla take the
// plugin for one of theirs; such a path is opened through a link elsewhere.
func openFile(path string) (compute.Backend, error) {
	if strings.Contains(path, ",") || pjrt.IsCUDAName(path) || pjrt.IsROCMName(path) {
		dir, err := os.MkdirTemp("", "otfuse-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir) // once the plugin is loaded its path is not used again
		link := filepath.Join(dir, filepath.Base(path))
		if err := os.Symlink(path, link); err != nil {
			return nil, err
		}
		path = link
	}
	return openConfig("xla:" + path)
}

// isFile tells whether there is a regular file at path.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
