package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const maxDownload = 4 << 30 // bytes; every archive here is under 300 MB

// remote is an archive on the web.
type remote struct {
	url    string
	sha256 string // hexadecimal
}

// fetcher downloads archives.
type fetcher struct {
	client   *http.Client
	attempts int
	pause    time.Duration // before the second attempt; doubled before each further one
	stall    time.Duration // without a byte, after which an attempt is given up
	observe  func(Progress)
}

// permanentError is one that trying again does not help.
type permanentError struct{ error }

func (p permanentError) Unwrap() error { return p.error }

// errRange is in the chain of an error when a download cannot be continued.
var errRange = errors.New("the file cannot be continued")

// newFetcher fails within ten seconds where there is no network.
func newFetcher(client *http.Client, observe func(Progress)) fetcher {
	if client == nil {
		client = &http.Client{Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
		}}
	}
	if observe == nil {
		observe = func(Progress) {}
	}
	return fetcher{client: client, attempts: 4, pause: time.Second, stall: 30 * time.Second, observe: observe}
}

// fetch downloads r to the path dst, which appears whole and verified or not
// at all. What has arrived is kept beside it, as dst.part, and continued by the
// next attempt or the next process.
func (f fetcher) fetch(ctx context.Context, r remote, dst string) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	var err error
	for attempt := range f.attempts {
		if attempt > 0 {
			if e := sleep(ctx, f.pause<<(attempt-1)); e != nil {
				return e
			}
		}
		err = f.attempt(ctx, r, dst+".part")
		if err == nil {
			return os.Rename(dst+".part", dst)
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

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// attempt continues the file part, from nothing where it does not exist, and
// verifies it.
func (f fetcher) attempt(ctx context.Context, r remote, part string) error {
	out, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return permanentError{err}
	}
	defer out.Close()
	had, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return permanentError{err}
	}
	if err := f.body(ctx, r.url, out, had); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return permanentError{err}
	}
	if err = r.check(out); err == nil {
		return err
	}
	// A file put together from two answers may be at fault itself: try again.
	if e := errors.Join(out.Close(), os.Remove(part)); e != nil {
		return permanentError{e}
	}
	if had > 0 {
		return err
	}
	return permanentError{err}
}

// body appends to out, which has had bytes, what the server has beyond them.
func (f fetcher) body(ctx context.Context, url string, out *os.File, had int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(f.stall, func() { cancel(fmt.Errorf("no data for %v", f.stall)) })
	defer watch.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return permanentError{err}
	}
	if had > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", had))
	}
	res, err := f.client.Do(req)
	if err != nil {
		return dialing(causeOf(ctx, err))
	}
	defer res.Body.Close()
	at, total, err := position(res, had)
	if errors.Is(err, errRange) {
		return errors.Join(err, out.Truncate(0)) // the next attempt starts over
	}
	if err != nil {
		return err
	}
	if total > maxDownload {
		return permanentError{fmt.Errorf("%w: %s has %d bytes", ErrUnsafe, url, total)}
	}
	if err := out.Truncate(at); err != nil {
		return permanentError{err}
	}
	if _, err := out.Seek(at, io.SeekStart); err != nil {
		return permanentError{err}
	}
	w := &meter{f: f, watch: watch, out: out, p: Progress{What: "downloading " + filepath.Base(url), Unit: "bytes", Done: at, Total: max(total, 0)}}
	_, err = io.Copy(w, io.LimitReader(res.Body, maxDownload-at))
	if err != nil {
		return causeOf(ctx, err)
	}
	if total >= 0 && w.p.Done != total {
		return fmt.Errorf("%d of %d bytes: %w", w.p.Done, total, io.ErrUnexpectedEOF)
	}
	f.observe(w.p)
	return nil
}

// causeOf replaces the cancellation of an attempt by its reason.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// dialing marks the failure to reach the server at all as permanent: without a
// network the caller wants to know soon.
func dialing(err error) error {
	if op := new(net.OpError); errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") {
		return permanentError{err}
	}
	if errors.As(err, new(*net.DNSError)) {
		return permanentError{err}
	}
	return err
}

// position reads from the headers where the body of an answer begins in the
// file, and how long the file is, −1 where that is not said.
func position(res *http.Response, had int64) (at, total int64, err error) {
	switch res.StatusCode {
	case http.StatusOK: // the whole file, whatever was asked for
		return 0, res.ContentLength, nil
	case http.StatusPartialContent:
		var last int64
		_, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &at, &last, &total)
		if err != nil || at != had {
			return 0, 0, fmt.Errorf("%s: %w: byte %d is answered with %q", res.Request.URL, errRange, had, res.Header.Get("Content-Range"))
		}
		return at, total, nil
	case http.StatusRequestedRangeNotSatisfiable:
		if res.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", had) {
			res.Body = http.NoBody // nothing is missing
			return had, had, nil
		}
		return 0, 0, fmt.Errorf("%s: %w: it has no byte %d", res.Request.URL, errRange, had)
	}
	err = fmt.Errorf("%s: %s", res.Request.URL, res.Status)
	if res.StatusCode < 500 && res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusRequestTimeout {
		err = permanentError{err}
	}
	return 0, 0, err
}

// meter writes a download, reports it and keeps the watch from giving it up.
type meter struct {
	f     fetcher
	watch *time.Timer
	out   io.Writer
	p     Progress
	told  int64
}

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.out.Write(b)
	if err != nil {
		return n, permanentError{err}
	}
	m.watch.Reset(m.f.stall)
	m.p.Done += int64(n)
	if m.p.Done-m.told >= 1<<20 {
		m.told = m.p.Done
		m.f.observe(m.p)
	}
	return n, nil
}

// check says whether a file is the archive r.
func (r remote) check(file io.ReadSeeker) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, r.sha256) {
		return fmt.Errorf("%s: %w: SHA-256 %s instead of %s", r.url, ErrChecksum, got, r.sha256)
	}
	return nil
}
