// Package atomicfile replaces files and directories in one step.
//
// The new content is first written completely to a sibling of the target, whose
// name starts with a dot, and flushed to the disk. Only then is the sibling
// renamed to the target. Readers therefore find either the old content or the
// new content, even if the process is killed at any moment. A sibling that a
// killed process leaves behind is removed by the next write to the same target.
// File locks keep the siblings of running processes from being removed; where the
// system has no file locks, siblings are never removed.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path by what write produces. On an error the
// old file is as it was. A new file gets the permissions 0644, less the umask;
// one that is replaced keeps its own. Missing parent directories are created,
// and a symbolic link stays one: its target is replaced.
func WriteFile(path string, write func(w io.Writer) error) error {
	if err := writeFile(path, write); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeFile(path string, write func(w io.Writer) error) error {
	path, old, err := resolveTarget(path)
	if err != nil {
		return err
	}
	if old != nil && !old.Mode().IsRegular() {
		return errors.New("exists and is not a regular file")
	}
	removeStale(path, draft)
	f, err := claimDraft(path, func(name string) (*os.File, error) {
		return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	})
	if err != nil {
		return err
	}
	defer f.Close()           // Sync has already reported any error of writing
	defer os.Remove(f.Name()) // does nothing after the rename
	w := bufio.NewWriterSize(f, 1<<16)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if !canRenameOpen {
		f.Close()
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return flushToDisk(filepath.Dir(path))
}

// resolveTarget follows symbolic links, creates the parent directory, and returns
// the absolute path of the target and its information, nil where it does not
// exist.
func resolveTarget(path string) (string, fs.FileInfo, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	info, err := os.Lstat(path)
	switch {
	case err == nil:
		return path, info, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", nil, err
	}
	return path, nil, os.MkdirAll(filepath.Dir(path), 0o755)
}
