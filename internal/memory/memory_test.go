package memory

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFree: the least of what machine, control groups and Go's limit leave counts.
func TestFree(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	check := func(want, limit int64) {
		t.Helper()
		got, ok := free(root, limit)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := free(root, math.MaxInt64)
	require.False(t, ok)
	write("proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:    8000 kB\n")
	check(8000*1024, math.MaxInt64)
	write("proc/self/status", "Name:\tx\nVmRSS:\t  1000 kB\n")
	check(500*1024, 1500*1024)
	check(0, 10*1024)
	write("proc/self/cgroup", "0::/a/b\n")
	write("sys/fs/cgroup/a/b/memory.max", "max\n")
	check(8000*1024, math.MaxInt64)
	write("sys/fs/cgroup/a/memory.max", "5000000\n")
	write("sys/fs/cgroup/a/memory.current", "3000000\n")
	write("sys/fs/cgroup/a/memory.stat", "anon 7\ninactive_file 1000000\n")
	check(3_000_000, math.MaxInt64)
	write("proc/self/cgroup", "5:cpu:/c\n4:memory:/c\n")
	check(8000*1024, math.MaxInt64)
	write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "4000000\n")
	write("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "3000000\n")
	check(1_000_000, math.MaxInt64)
}

// TestFreeHere: a process of a Linux machine has some memory.
func TestFreeHere(t *testing.T) {
	free, ok := Free()
	require.Equal(t, runtime.GOOS == "linux", ok)
	if ok {
		require.Positive(t, free)
	}
}
