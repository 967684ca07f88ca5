package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// WriteDir replaces the directory at path by the one that write fills. On an
// error the old directory is as it was. Missing parent directories are created,
// and a symbolic link stays one: its target is replaced.
//
// The old directory is deleted with everything in it. It must therefore be empty
// or hold a regular file called marker, which identifies it as one of ours. Any
// other directory is refused, and so is one that contains the current directory.
//
// On Linux the two directories are exchanged in one step. Where the system or
// the file system cannot do that, the old one is set aside first, and a process
// killed between the two renames leaves nothing at path; the next WriteDir puts
// the old directory back before it does anything else.
func WriteDir(path, marker string, write func(dir string) error) error {
	if err := writeDir(path, marker, write); err != nil {
		return fmt.Errorf("write directory %s: %w", path, err)
	}
	return nil
}

func writeDir(path, marker string, write func(dir string) error) error {
	path, _, err := resolveTarget(path)
	if err != nil {
		return err
	}
	if err := restore(path); err != nil {
		return err
	}
	if _, err := replaceable(path, marker); err != nil {
		return err
	}
	removeStale(path, draft)
	removeStale(path, aside)
	f, err := claimDraft(path, func(name string) (*os.File, error) {
		if err := os.Mkdir(name, 0o755); err != nil {
			return nil, err
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = fs.ErrExist // removeStale took it before it was locked: try another name
		}
		return f, err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	// This name belongs to the draft or, after an exchange, to the old directory.
	// If it cannot be removed, the next removeStale tries again.
	defer removeSibling(f.Name())
	if err := write(f.Name()); err != nil {
		return err
	}
	if err := flushTree(f.Name()); err != nil {
		return err
	}
	old, err := replaceable(path, marker) // it may have changed meanwhile
	if err != nil {
		return err
	}
	if !canRenameOpen {
		f.Close()
	}
	if err := replace(f.Name(), path, old); err != nil {
		return err
	}
	return flushToDisk(filepath.Dir(path))
}

// replaceable returns information about what is at path, nil where there is
// nothing, or an error that says why it must not be replaced.
func replaceable(path, marker string) (fs.FileInfo, error) {
	for {
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, err
		case !info.IsDir():
			return nil, errors.New("exists and is not a directory")
		case HoldsCurrent(path):
			return nil, errors.New("is or holds the current directory, which cannot be replaced")
		}
		ours, err := hasMarker(path, marker)
		if ours {
			return info, nil
		}
		// Another writer may have replaced it meanwhile and be deleting the old one.
		if now, e := os.Lstat(path); e != nil || !os.SameFile(info, now) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("is not empty and holds no file %q, so it is not replaced", marker)
	}
}

// hasMarker reports whether a directory is empty or holds a file called marker.
func hasMarker(dir, marker string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	ours := slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == marker && e.Type().IsRegular()
	})
	return ours || len(entries) == 0, nil
}

// HoldsCurrent reports whether a directory is the current one or holds it.
func HoldsCurrent(dir string) bool {
	here, err := os.Getwd()
	if err != nil {
		return false
	}
	return Holds(dir, here)
}

// Holds reports whether a directory is another path or holds it. Links are followed, and
// of a path that does not exist those of the part that does.
func Holds(dir, path string) bool {
	rel, err := filepath.Rel(resolved(dir), resolved(path))
	return err == nil && filepath.IsLocal(rel)
}

// resolved returns a path without links, absolute where it can be.
func resolved(path string) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	if followed, err := filepath.EvalSymlinks(path); err == nil {
		return followed
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(resolved(parent), filepath.Base(path))
	}
	return path
}

// replace renames the directory next to path. A directory old that was there is
// renamed to next or removed.
func replace(next, path string, old fs.FileInfo) error {
	if old == nil {
		return os.Rename(next, path)
	}
	if err := os.Chmod(next, old.Mode().Perm()); err != nil {
		return err
	}
	err := exchange(next, path)
	if errors.Is(err, errors.ErrUnsupported) {
		return replaceAside(next, path)
	}
	return err
}

// replaceAside does in two renames what exchange does in one.
func replaceAside(next, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if !canRenameOpen {
		f.Close()
	} else if err := tryLock(f); errors.Is(err, ErrLocked) {
		return err
	}
	old := sibling(path, aside)
	if err := os.Rename(path, old); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return errors.Join(err, os.Rename(old, path))
	}
	removeSibling(old) // the next removeStale tries again
	return nil
}

// restore puts back the directory that a process killed inside replaceAside
// had set aside, if nothing has taken its place.
func restore(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var newest string
	var when int64
	for _, name := range siblings(path, aside) {
		if info, err := os.Lstat(name); err == nil && (newest == "" || info.ModTime().UnixNano() > when) {
			newest, when = name, info.ModTime().UnixNano()
		}
	}
	if newest == "" {
		return nil
	}
	f, err := os.Open(newest)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := tryLock(f); errors.Is(err, ErrLocked) {
		return err
	}
	if !canRenameOpen {
		f.Close()
	}
	return os.Rename(newest, path)
}
