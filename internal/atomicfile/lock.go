package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrLocked reports that another process writes to a path, or holds its lock.
var ErrLocked = errors.New("another process is writing it")

// Lock takes the lock of a path for as long as this process works on it, until unlock
// is called or the process ends, however it ends. It fails with [ErrLocked] where
// somebody else has the lock. Where the system knows no locks, everybody gets it.
func Lock(path string) (unlock func(), err error) {
	name := path + ".lock"
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		locked := tryLock(f)
		if errors.Is(locked, ErrLocked) {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, ErrLocked), f.Close())
		}
		// Whoever had the lock before may have removed the file meanwhile. Any other error
		// says that the system knows no locks.
		if locked != nil || isStillNamed(f) {
			return func() { //nolint:nilerr // the system knows no locks
				os.Remove(name)
				f.Close()
			}, nil
		}
		f.Close()
	}
}
