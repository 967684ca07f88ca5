//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package boundedtest

import (
	"syscall"
	"testing"
)

// MakePipe makes a named pipe, to which nobody writes.
func MakePipe(t testing.TB, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
