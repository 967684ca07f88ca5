package atomicfile

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// exchange swaps two names of one file system in one step. It fails with
// errors.ErrUnsupported where kernel or file system cannot do that.
func exchange(a, b string) error {
	const (
		atCWD          = -100 // paths are relative to the current directory
		renameExchange = 2
	)
	number, ok := renameat2()
	if !ok {
		return errors.ErrUnsupported
	}
	from, err := syscall.BytePtrFromString(a)
	if err != nil {
		return err
	}
	to, err := syscall.BytePtrFromString(b)
	if err != nil {
		return err
	}
	cwd := atCWD
	_, _, errno := syscall.Syscall6(number, uintptr(cwd), uintptr(unsafe.Pointer(from)),
		uintptr(cwd), uintptr(unsafe.Pointer(to)), renameExchange, 0)
	switch errno {
	case 0:
		return nil
	case syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.EPERM:
		// EPERM comes from sandboxes that do not know the call; if it is
		// meant, the plain renames that follow get it too.
		return errors.ErrUnsupported
	}
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: errno}
}

// renameat2 returns the number of the system call, which package syscall does
// not know on every architecture.
func renameat2() (uintptr, bool) {
	switch runtime.GOARCH {
	case "amd64":
		return 316, true
	case "arm64", "loong64", "riscv64":
		return 276, true
	case "386":
		return 353, true
	case "arm":
		return 382, true
	case "ppc64", "ppc64le":
		return 357, true
	case "s390x":
		return 347, true
	}
	return 0, false
}
