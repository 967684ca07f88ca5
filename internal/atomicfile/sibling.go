package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The kinds of sibling: a draft is new content that is being written; a directory
// that is being replaced is set aside where the system cannot exchange two names.
const (
	draft = ".draft-"
	aside = ".aside-"

	suffix = "%016x" // a random number follows
)

// sibling returns a fresh name beside path.
func sibling(path, kind string) string {
	return filepath.Join(filepath.Dir(path), siblingStem(path, kind)+fmt.Sprintf(suffix, rand.Uint64()))
}

// siblingStem is the prefix that the names of all siblings of path share.
func siblingStem(path, kind string) string { return "." + filepath.Base(path) + kind }

// claimDraft creates a draft beside path and locks it. The lock marks the draft as
// in use until the file is closed or the process ends.
func claimDraft(path string, create func(name string) (*os.File, error)) (*os.File, error) {
	const tries = 100
	for range tries {
		f, err := create(sibling(path, draft))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Between the creation and the lock removeStale may have taken it.
		if !errors.Is(tryLock(f), ErrLocked) && isStillNamed(f) {
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("no free name beside it after %d tries", tries)
}

// isStillNamed reports whether the name of f still leads to f.
func isStillNamed(f *os.File) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(f.Name())
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// removeStale removes the siblings of one kind that no process has locked. Errors
// are ignored: the next write tries again.
func removeStale(path, kind string) {
	for _, name := range siblings(path, kind) {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		if tryLock(f) == nil && isStillNamed(f) {
			removeSibling(name)
		}
		f.Close()
	}
}

// removeSibling removes a sibling as far as possible. The directory that a draft
// replaced may be write-protected: then its owner could not empty it.
func removeSibling(path string) {
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		_ = os.Chmod(path, info.Mode().Perm()|0o700) // RemoveAll shows whether it helped
	}
	os.RemoveAll(path)
}

// siblings lists the files and directories beside path whose names have the form
// that sibling gives them. Links and pipes are left out.
func siblings(path, kind string) []string {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), siblingStem(path, kind))
		n, err := strconv.ParseUint(digits, 16, 64)
		if ok && err == nil && digits == fmt.Sprintf(suffix, n) && (e.IsDir() || e.Type().IsRegular()) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}
