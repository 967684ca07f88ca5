package story

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
)

// Parents opens the models of a comma-separated list of directories, the anchor
// first, or, where it is empty, the pair of seeds 0 and 1 that a program brings
// along for a data set.
func Parents(dirs string, shipped fs.FS, set string) ([]*models.Model, error) {
	var names []string
	for _, d := range strings.Split(dirs, ",") {
		if d = strings.TrimSpace(d); d != "" {
			names = append(names, d)
		}
	}
	if len(names) == 1 {
		return nil, errors.New("-parents names one directory, want at least two")
	}
	var out []*models.Model
	for _, d := range names {
		m, err := models.Open(d)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if len(out) > 0 {
		return out, nil
	}
	for seed := range 2 {
		m, err := openShipped(shipped, fmt.Sprintf("%s-seed%d", set, seed))
		if err != nil {
			return nil, fmt.Errorf("no parents are shipped for %s; give two with -parents: %w", set, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// Alike reports, before any work is done, a parent that cannot be fused into the
// first.
func Alike(parents []*models.Model) error {
	for k, m := range parents[1:] {
		if err := fuse.Check(m, parents[0]); err != nil {
			return fmt.Errorf("parent %d: %w", k+1, err)
		}
	}
	return nil
}

// openShipped opens a checkpoint within a program by way of a temporary copy.
func openShipped(shipped fs.FS, name string) (*models.Model, error) {
	sub, err := fs.Sub(shipped, "parents/"+name)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "parent-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	dir := filepath.Join(tmp, name)
	if err := os.CopyFS(dir, sub); err != nil {
		return nil, err
	}
	return models.Open(dir)
}
