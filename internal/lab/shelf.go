package lab

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"

	"github.com/otfuse/otfuse/models"
)

// A shelf is a directory in which an experiment keeps what is finished, and the state of
// what is interrupted, until all of it is done.
type shelf struct {
	dir   string // empty for nowhere
	paths []string
}

// place returns a path for what depends on all that is named, models by their values; empty
// for nowhere.
func (s *shelf) place(of ...any) (string, error) {
	if s.dir == "" {
		return "", nil
	}
	h := fnv.New64a()
	for _, x := range of {
		if m, ok := x.(*models.Model); ok {
			digest, err := m.Digest()
			if err != nil {
				return "", err
			}
			x = digest
		}
		fmt.Fprintf(h, "%v\n", x)
	}
	path := filepath.Join(s.dir, fmt.Sprintf("%016x", h.Sum64()))
	s.paths = append(s.paths, path)
	return path, nil
}

// files are all paths under which something may be kept.
func (s *shelf) files() (out []string) {
	for _, path := range s.paths {
		for _, end := range []string{"", checkpointSuffix, LearningSuffix, DistillingSuffix} {
			out = append(out, path+end)
		}
	}
	return out
}

// holdsAny reports whether something is kept.
func (s *shelf) holdsAny() bool {
	return slices.ContainsFunc(s.files(), func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// clear removes what was kept, and the directory unless it holds something else.
func (s *shelf) clear() error {
	if s.dir == "" {
		return nil
	}
	var errs []error
	for _, path := range s.files() {
		errs = append(errs, os.RemoveAll(path))
	}
	if left, err := os.ReadDir(s.dir); err == nil && len(left) == 0 {
		errs = append(errs, os.Remove(s.dir))
	}
	return errors.Join(errs...)
}

// The ends of the names of the files that trainings resume from.
const (
	LearningSuffix   = ".learning.safetensors"
	DistillingSuffix = ".distilling.safetensors"
	checkpointSuffix = ".training.safetensors"
)
