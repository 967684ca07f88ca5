package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/otfuse/otfuse/internal/bounded"
)

// walkDir visits the files of a folder down to depth levels, in the order of
// their names. It follows links, which the user has put there: those to nothing
// and those to a folder that they lie in are skipped.
func walkDir(ctx context.Context, root string, depth int, visit func(file) error) error {
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	w := walker{root: root, visit: visit}
	return w.walk(ctx, "", depth, []fs.FileInfo{info})
}

// walker is a walk through a folder.
type walker struct {
	root    string
	visit   func(file) error
	folders int
}

// walk visits what lies in a folder. The last of within is the folder itself, the
// others are those that it was reached through.
func (w *walker) walk(ctx context.Context, dir string, depth int, within []fs.FileInfo) error {
	if w.folders++; w.folders > maxFiles { // links can multiply folders
		return fmt.Errorf("%w: more than %d folders", ErrUnsafe, maxFiles)
	}
	entries, err := os.ReadDir(filepath.Join(w.root, filepath.FromSlash(dir)))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(dir, e.Name())
		where := filepath.Join(w.root, filepath.FromSlash(name))
		info, err := os.Stat(where)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP):
			continue // a link to nothing, or to itself
		case err != nil:
			return err
		case info.IsDir():
			circle := slices.ContainsFunc(within, func(outer fs.FileInfo) bool { return os.SameFile(outer, info) })
			if depth > 1 && !circle {
				err = w.walk(ctx, name, depth-1, append(slices.Clip(within), info))
			}
		case info.Mode().IsRegular():
			err = w.visit(file{name, info.Size(), func() (io.ReadCloser, error) { return bounded.Open(where) }})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
