package atomicfile

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLock: one at a time has the lock, and nothing is left of it.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "below", "state")
	unlock, err := Lock(path)
	require.NoError(t, err)
	_, err = Lock(path)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, path)
	unlock()
	again, err := Lock(path)
	require.NoError(t, err)
	again()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, entries)

	var inside, taken atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				unlock, err := Lock(path)
				if err != nil {
					continue
				}
				if inside.Add(1) > 1 {
					t.Error("two have the lock")
				}
				taken.Add(1)
				inside.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
	require.Positive(t, taken.Load())
}
