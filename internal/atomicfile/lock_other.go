//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package atomicfile

import (
	"errors"
	"os"
)

const (
	canRenameOpen = false // a file or directory can be renamed while it is open
	canFlush      = false // what is open for reading can be flushed
)

func tryLock(*os.File) error { return errors.ErrUnsupported }
