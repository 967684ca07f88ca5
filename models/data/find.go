package data

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/internal/dataset/fetch"
	"github.com/otfuse/otfuse/models"
)

// Options of [Open] and [Find]. The zero value is usable.
type Options struct {
	// Dir is the folder that is searched first and that downloads go to;
	// empty means otfuse in the user's cache folder. For "imagefolder" it is
	// the folder or archive of images itself.
	Dir string
	// Size is what the images of folders are scaled and cropped to; zero means
	// 64×64 pixels. CIFAR is always 32×32.
	Size Size
	// Memory is the most bytes of decoded images that [OpenImageFolder] holds;
	// zero means 4 GiB. Those of a larger folder or .zip are decoded on demand.
	Memory int64
	// Broken is the most images of a folder that are left out because they cannot
	// be decoded; nil means one in a hundred, or ten where that is more, and
	// new(0) that the first one is an error.
	Broken *int
	// HeldOut is the share of the images of each class that become the test set
	// of a folder that brings none; zero means 0.2.
	HeldOut float64
	// Client makes the requests of a download; nil means one that gives up
	// connecting after ten seconds.
	Client *http.Client
	// Observe is told how far downloads (in bytes) and decoding (in images) are,
	// and what is left out, never by two goroutines at a time. Of a set that is
	// decoded on demand it is told so when that turns out. It may be nil.
	Observe func(models.Progress)
}

// Find returns the path of the data set "cifar10", "cifar100" or "tinyimagenet",
// or of "wikitext2" or "wiki2016", which are texts for package text. It looks for
// their archives and folders in o.Dir, in $OTFUSE_DATA and in the folder otfuse of
// the user's cache, in this order. Where none of them has the set, the official
// archive is downloaded to o.Dir, or to the cache, and verified. An interrupted
// download continues where it stopped, and of several programs that want the same
// archive one downloads it. For "wiki2016" there is no official archive.
//
// An official archive in the cache is verified again before it is used, and
// ignored if it is torn. Files in the other two folders belong to the user and are
// taken as they are.
//
// The error has [ErrUnavailable] in its chain where the set is nowhere on this
// machine and the download failed. A cancelled ctx gives its error.
func Find(ctx context.Context, name string, o Options) (string, error) {
	s, err := lookupSource(name, append(imageSources(), textSources()...))
	if err != nil {
		return "", err
	}
	where, _, err := s.locate(ctx, o)
	return where, err
}

// locate returns where a set is and which of its forms that is.
func (s source) locate(ctx context.Context, o Options) (string, edition, error) {
	dirs, target, err := folders(o.Dir)
	if err != nil {
		return "", edition{}, err
	}
	missing := "not in " + strings.Join(dirs, ", ")
	for _, dir := range dirs {
		for _, f := range s.forms {
			where := filepath.Join(dir, f.file)
			if _, err := os.Stat(where); err != nil {
				continue
			}
			good, err := s.isUsable(where)
			if err != nil {
				return "", edition{}, fmt.Errorf("data: %s: %w", s.title, err)
			}
			if good {
				return where, f, nil
			}
			missing = where + " is torn"
		}
	}
	for _, dir := range dirs {
		if where := filepath.Join(dir, s.pickled); s.pickled != "" && isDirectory(where) {
			missing += "; " + where + " is the version for Python, want the binary version " + path.Base(s.remote.URL)
		}
	}
	if s.remote.URL == "" {
		return "", edition{}, fmt.Errorf("data: %s: %w: %s", s.title, ErrUnavailable, missing)
	}
	where := filepath.Join(target, path.Base(s.remote.URL))
	err = fetch.Fetcher{Client: o.Client, Observe: o.Observe}.Fetch(ctx, s.remote, where)
	if ctx.Err() != nil {
		return "", edition{}, fmt.Errorf("data: %s: %w", s.title, ctx.Err())
	}
	if err != nil {
		return "", edition{}, fmt.Errorf("data: %s: %w: %s, and the download failed: %w",
			s.title, ErrUnavailable, missing, err)
	}
	return where, s.forms[0], nil
}

// isUsable reports whether a form of the set that was found can be used. A
// download in the cache must be the official archive to the last byte; elsewhere
// the user may have put any part of the set under that name.
func (s source) isUsable(where string) (bool, error) {
	if cache, err := cacheDir(); err == nil && where == filepath.Join(cache, path.Base(s.remote.URL)) {
		return s.remote.Matches(where)
	}
	return true, nil
}

// cacheDir returns the folder of the user's cache that downloads go to.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "otfuse"), err
}

// folders lists the folders that are searched for sets, and the one that downloads
// go to.
func folders(dir string) (dirs []string, target string, err error) {
	if dir != "" {
		dirs = append(dirs, dir)
	}
	if env := os.Getenv("OTFUSE_DATA"); env != "" {
		if !isDirectory(env) {
			return nil, "", fmt.Errorf("data: OTFUSE_DATA is %s, which is not a folder", env)
		}
		dirs = append(dirs, env)
	}
	cache, err := cacheDir()
	switch {
	case err == nil:
		dirs = append(dirs, cache)
	case len(dirs) == 0:
		return nil, "", fmt.Errorf("data: %w; set OTFUSE_DATA to the folder of the data sets", err)
	}
	if dir != "" {
		return dirs, dir, nil
	}
	return dirs, dirs[len(dirs)-1], nil
}
