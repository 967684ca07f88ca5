package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is the time between two looks at a lock that somebody else holds.
const lockPoll = 200 * time.Millisecond

// lockName returns the file that holds the lock of path.
func lockName(path string) string { return path + ".lock" }

// Lock takes the lock of a path, which no other process and no other goroutine
// then holds until unlock is called or the process ends. It waits for as long
// as ctx allows. The folder of path must exist. Where the file system knows no
// locks, everybody gets the lock.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	return lockPath(ctx, path, func() {})
}

// lockPath is [Lock], and calls waiting once if somebody else holds the lock.
func lockPath(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := flock.New(lockName(path))
	locked, err := l.TryLock()
	if err == nil && !locked {
		waiting()
		_, err = l.TryLockContext(ctx, lockPoll)
	}
	switch {
	case ctx.Err() != nil:
		_ = l.Close()
		return nil, ctx.Err()
	case err != nil && !errors.Is(err, errors.ErrUnsupported):
		_ = l.Close()
		return nil, fmt.Errorf("lock %s: %w", l.Path(), err)
	}
	// The error of Close would change nothing: the system drops the lock anyway.
	return func() { _ = l.Close() }, nil
}
