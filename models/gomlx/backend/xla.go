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

// plugins are the XLA plugins to try for a request, the best first.
func (s *search) plugins(ctx context.Context, r request) []candidate {
	var all []candidate
	if r.kind != cpuPlugin {
		all = s.cudaCandidates(ctx, r)
	}
	if r.kind == cudaPlugin {
		return all
	}
	all = append(all, s.installed(r, func(name string) bool {
		return !strings.HasPrefix(name, cudaPlugin) && (r.kind == anyPlugin || isNamed(name, r.kind))
	})...)
	return append(all, candidate{name: "CPU plugin fetched by this library",
		open: func(ctx context.Context) (compute.Backend, error) {
			if s.places.cache == "" {
				return nil, errors.New("there is no folder for a plugin: neither $XDG_CACHE_HOME nor $HOME is set")
			}
			return s.openStored(ctx, cpuStore(s.places.cache, s.observe), r.options)
		}})
}

// isNamed tells whether a plugin is of a kind, in any version.
func isNamed(name, kind string) bool { return name == kind || strings.HasPrefix(name, kind+"_") }

// installed are the plugins that go-xla finds and that are wanted, the best first.
func (s *search) installed(r request, wanted func(name string) bool) []candidate {
	var names []string
	if err := recovered(func() error {
		names = slices.Clone(xla.GetAvailablePlugins())
		return nil
	}); err != nil {
		// A single plugin that cannot be loaded hides all the others.
		return []candidate{{name: "installed XLA plugins passed over, one of them is broken",
			open: func(context.Context) (compute.Backend, error) { return nil, err }}}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !wanted(name) })
	rank := func(name string) int {
		for i, kind := range []string{cudaPlugin, "rocm", cpuPlugin} {
			if isNamed(name, kind) {
				return i
			}
		}
		return 3
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	var all []candidate
	for _, name := range names {
		cuda := strings.HasPrefix(name, cudaPlugin)
		all = append(all, candidate{name: "installed XLA plugin " + name, cuda: cuda,
			open: func(context.Context) (compute.Backend, error) {
				if !cuda {
					return openConfig("xla:" + name + r.options)
				}
				plugin := pjrt.AvailablePlugins()[name]
				return openCUDA(plugin, filepath.Dir(plugin), r.options)
			}})
	}
	return all
}

// openStored opens the first plugin in the store that is as it was fetched and works.
// Only if it holds none does it fetch one, so a second start never needs the network.
func (s *search) openStored(ctx context.Context, store *pluginStore, options string) (compute.Backend, error) {
	var failed []error
	for _, src := range store.sources {
		if !store.has(src) {
			continue
		}
		b, err := openChecked(store, src, options)
		if err == nil {
			return b, nil
		}
		failed = append(failed, err)
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	for i, src := range store.sources {
		err := s.allowed(ctx, Download{What: "XLA's plugin for the CPU", Bytes: src.bytes, Needs: 4 * src.bytes,
			Free: freeBytes(store.dir), Dir: store.dir})
		if err != nil {
			return nil, err
		}
		got, err := store.fetch(ctx, src)
		if err == nil {
			var b compute.Backend
			if b, err = openChecked(store, got, options); err == nil {
				return b, nil
			}
			if i < len(store.sources)-1 { // the last one stays: it would come back the same at each start
				err = errors.Join(err, store.remove(got))
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed = append(failed, fmt.Errorf("%s: %w", src.name, err))
	}
	return nil, fmt.Errorf("no plugin could be fetched: %w", errors.Join(failed...))
}

// openChecked opens a plugin of the store that is as it was fetched.
func openChecked(store *pluginStore, src source, options string) (compute.Backend, error) {
	if err := store.check(src); err != nil {
		return nil, err
	}
	b, err := openFile(store.path(src), options)
	if err != nil {
		return nil, fmt.Errorf("%w (remove the file to fetch it anew)", err)
	}
	return b, nil
}

// openFile opens the CPU plugin at an absolute path. A comma in the path would
// end it, and a directory named after a GPU maker would make go-xla take the
// plugin for one of theirs; such a path is opened through a link elsewhere.
func openFile(path, options string) (compute.Backend, error) {
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
	return openConfig("xla:" + path + options)
}

// askedAbove is the number of bytes beyond which a download is asked for first,
// unless the user has said what holds for all.
const askedAbove = 200_000_000

// allowed says why a download must not be made.
func (s *search) allowed(ctx context.Context, d Download) error {
	what := fmt.Sprintf("%s (%s to download)", d.What, megabytes(d.Bytes))
	switch _, off := os.LookupEnv(xla.NoAutoInstallEnv); {
	case s.listing:
		return absentError{fmt.Errorf("%s: not fetched yet", what)}
	case s.rule == fetchNo:
		return fmt.Errorf("%s: $%s forbids to fetch it", what, FetchVariable)
	case off:
		return fmt.Errorf("%s: $%s forbids to fetch it", what, xla.NoAutoInstallEnv)
	case d.Free >= 0 && d.Free < d.Needs:
		return fmt.Errorf("%s: it needs %s of the disk of %s, and %s are free",
			what, megabytes(d.Needs), d.Dir, megabytes(d.Free))
	case s.rule == fetchYes, s.rule == fetchDefault && d.Bytes <= askedAbove:
		return nil
	case s.allow != nil && s.allow(ctx, d):
		return nil
	}
	return fmt.Errorf("%s: not fetched; $%s=yes fetches it", what, FetchVariable)
}

// megabytes prints a number of bytes.
func megabytes(n int64) string { return fmt.Sprintf("%d MB", n/1_000_000) }
