package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// flushToDisk waits until a file or a directory is on the disk.
func flushToDisk(path string) error {
	if !canFlush {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // the file system cannot flush it
		return err
	}
	return nil
}

// flushTree flushes everything below dir, and dir.
func flushTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		return flushToDisk(path)
	})
}
