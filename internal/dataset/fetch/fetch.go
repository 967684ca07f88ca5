package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/otfuse/otfuse/models"
)

var (
	// ErrChecksum is in the chain of an error when a file is complete and is not
	// the one that was asked for.
	ErrChecksum = errors.New("wrong checksum")
	// ErrTooLarge is in the chain of an error when a file has more bytes than
	// its limit.
	ErrTooLarge = errors.New("larger than allowed")
)

// A File is a file on the web.
type File struct {
	URL    string
	SHA256 string // hexadecimal; empty where none is known: then the file is as trustworthy as the connection
	Limit  int64  // bytes of the largest file that is accepted; 0 means 4 GiB
}

// sizeLimit returns the most bytes that the file may have.
func (f File) sizeLimit() int64 { return cmp.Or(f.Limit, 4<<30) }

// A Fetcher downloads files. The zero value is ready for use.
type Fetcher struct {
	Client   *http.Client          // nil means one that gives up connecting after ten seconds
	Attempts int                   // to download one file; 0 means 4
	Pause    time.Duration         // before the second attempt, doubled before each further one; 0 means 1 s
	Stall    time.Duration         // without a byte, after which an attempt is given up; 0 means 30 s
	Observe  func(models.Progress) // told the bytes that have arrived; may be nil
}

// permanentError marks an error that another attempt cannot cure.
type permanentError struct{ error }

func (p permanentError) Unwrap() error { return p.error }

// withDefaults returns the fetcher with every field set.
func (f Fetcher) withDefaults() Fetcher {
	if f.Client == nil {
		f.Client = &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			DisableKeepAlives:     true, // one file is all that is asked for
		}}
	}
	f.Attempts = cmp.Or(f.Attempts, 4)
	f.Pause = cmp.Or(f.Pause, time.Second)
	f.Stall = cmp.Or(f.Stall, 30*time.Second)
	if f.Observe == nil {
		f.Observe = func(models.Progress) {}
	}
	return f
}

// Fetch makes sure that path is the given file. One that is already there and
// has the right checksum is left alone and the network is not asked; so is
// whatever is there where no checksum is known. Any other is replaced by a
// download. Missing folders are created.
//
// The error has [ErrChecksum] in its chain where the server's file is another
// one, and [ErrTooLarge] where it exceeds the limit. When ctx ends, its error
// comes back; what had arrived is kept for the next call. Without a checksum a
// download is continued within one call only, since nothing would show that
// the file had changed in between.
func (f Fetcher) Fetch(ctx context.Context, file File, path string) error {
	f = f.withDefaults()
	if there, err := file.Matches(path); there || err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	waiting := func() {
		f.Observe(models.Progress{Stage: "waiting for another process to fetch", Item: file.fileName()})
	}
	unlock, err := lockPath(ctx, path, waiting)
	if err != nil {
		return err
	}
	// Whoever had the lock before may have fetched the file meanwhile.
	there, err := file.Matches(path)
	if err == nil && !there {
		err = f.download(ctx, file, path)
	}
	if err == nil {
		// Nobody needs the lock again: those who wait for it find the file.
		os.Remove(lockName(path))
	}
	unlock()
	return err
}

// Matches tells whether path is the file: it exists and has the checksum, where
// one is known. It is an error if path cannot be read or is not a regular file.
func (f File) Matches(path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("%s is not a regular file", path)
	case f.SHA256 == "":
		return true, nil
	}
	got, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer got.Close()
	err = f.verifyChecksum(got)
	if errors.Is(err, ErrChecksum) {
		return false, nil
	}
	return err == nil, err
}

// download fetches the file in as many attempts as it takes. The caller holds
// the lock.
func (f Fetcher) download(ctx context.Context, file File, path string) error {
	part := path + ".part"
	if file.SHA256 == "" {
		if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	var err error
	for attempt := range f.Attempts {
		if attempt > 0 {
			if e := waitFor(ctx, f.Pause<<(attempt-1)); e != nil {
				return e
			}
		}
		err = f.attempt(ctx, file, part)
		if err == nil {
			return os.Rename(part, path)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.As(err, new(permanentError)) {
			break
		}
	}
	return err
}

// waitFor waits for a time or for the end of ctx, whose error it returns.
func waitFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
