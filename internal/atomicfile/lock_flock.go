//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package atomicfile

import (
	"os"
	"syscall"
)

const (
	canRenameOpen = true // a file or directory can be renamed while it is open
	canFlush      = true // what is open for reading can be flushed
)

// tryLock takes the exclusive lock of f without waiting. It is released when f is
// closed or the process ends. It fails with ErrLocked if another process has the
// lock, and with another error if the file system has no locks.
func tryLock(f *os.File) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return ErrLocked
		default:
			return err
		}
	}
}
