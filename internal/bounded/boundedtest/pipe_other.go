//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boundedtest

import "testing"

// MakePipe skips the test: this system has no named pipes in its file system.
func MakePipe(t testing.TB, _ string) {
	t.Helper()
	t.Skip("no named pipes here")
}
