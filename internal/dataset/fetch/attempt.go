package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/otfuse/otfuse/models"
)

// errRange is in the chain of an error when a download cannot be continued.
var errRange = errors.New("the file cannot be continued")

// fileName returns what the file is called in progress reports: the last element
// of the path of its URL.
func (f File) fileName() string {
	if u, err := url.Parse(f.URL); err == nil {
		return path.Base(u.Path)
	}
	return path.Base(f.URL)
}

// attempt continues the file part, from nothing where it does not exist, and
// verifies it.
func (f Fetcher) attempt(ctx context.Context, file File, part string) error {
	out, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return permanentError{err}
	}
	defer out.Close()
	had, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return permanentError{err}
	}
	if err := f.receive(ctx, file, out, had); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return permanentError{err}
	}
	if err = file.verifyChecksum(out); err == nil {
		return nil
	}
	if e := errors.Join(out.Close(), os.Remove(part)); e != nil {
		return permanentError{e}
	}
	// The fault may lie in what was there before: then starting over helps.
	if had > 0 {
		return err
	}
	return permanentError{err}
}

// receive appends to out, which holds the first had bytes of the file, what the
// server has beyond them.
func (f Fetcher) receive(ctx context.Context, file File, out *os.File, had int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(f.Stall, func() { cancel(fmt.Errorf("no data for %v", f.Stall)) })
	defer watch.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, file.URL, http.NoBody)
	if err != nil {
		return permanentError{err}
	}
	if had > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", had))
	}
	res, err := f.Client.Do(req)
	if err != nil {
		return connecting(causeOf(ctx, err))
	}
	defer res.Body.Close()
	start, total, err := position(res, had)
	if errors.Is(err, errRange) {
		return errors.Join(err, out.Truncate(0)) // the next attempt starts over
	}
	if err != nil {
		return err
	}
	if total > file.sizeLimit() {
		return file.tooLarge(total)
	}
	if err := out.Truncate(start); err != nil {
		return permanentError{err}
	}
	if _, err := out.Seek(start, io.SeekStart); err != nil {
		return permanentError{err}
	}
	w := &progressWriter{fetcher: f, watch: watch, out: out, item: file.fileName(), done: start, total: max(total, 0)}
	// One byte more than allowed shows a file that does not say its size.
	_, err = io.Copy(w, io.LimitReader(res.Body, file.sizeLimit()-start+1))
	switch {
	case err != nil:
		return causeOf(ctx, err)
	case w.done > file.sizeLimit():
		return errors.Join(file.tooLarge(w.done), out.Truncate(0))
	case total >= 0 && w.done != total:
		return fmt.Errorf("%d of %d bytes: %w", w.done, total, io.ErrUnexpectedEOF)
	}
	w.reportProgress()
	return nil
}

// tooLarge is the error for a file of at least n bytes.
func (f File) tooLarge(n int64) error {
	return permanentError{fmt.Errorf("%s: %w: %d bytes, the limit is %d", f.URL, ErrTooLarge, n, f.sizeLimit())}
}

// causeOf replaces the cancellation of an attempt by its reason.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// connecting marks the failure to reach the server at all as permanent: without
// a network the caller wants to know soon.
func connecting(err error) error {
	if op := new(net.OpError); errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect") {
		return permanentError{err}
	}
	if errors.As(err, new(*net.DNSError)) {
		return permanentError{err}
	}
	return err
}

// position reads from the headers where the body of an answer begins in the
// file, and how long the whole file is, −1 where the server does not say.
func position(res *http.Response, had int64) (start, total int64, err error) {
	switch res.StatusCode {
	case http.StatusOK: // the whole file, whatever was asked for
		return 0, res.ContentLength, nil
	case http.StatusPartialContent:
		var last int64
		_, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &start, &last, &total)
		if err != nil || start != had {
			return 0, 0, fmt.Errorf("%s: %w: byte %d is answered with %q",
				res.Request.URL, errRange, had, res.Header.Get("Content-Range"))
		}
		return start, total, nil
	case http.StatusRequestedRangeNotSatisfiable:
		if res.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", had) {
			res.Body = http.NoBody // nothing is missing
			return had, had, nil
		}
		return 0, 0, fmt.Errorf("%s: %w: it has no byte %d", res.Request.URL, errRange, had)
	}
	err = fmt.Errorf("%s: %s", res.Request.URL, res.Status)
	later := res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout
	if res.StatusCode < 500 && !later {
		err = permanentError{err}
	}
	return 0, 0, err
}

// progressWriter writes a download, reports how far it is and keeps the stall
// watch from ending it.
type progressWriter struct {
	fetcher     Fetcher
	watch       *time.Timer
	out         io.Writer
	item        string
	done, total int64 // bytes
	reported    int64 // done at the last report
}

func (w *progressWriter) Write(b []byte) (int, error) {
	n, err := w.out.Write(b)
	if err != nil {
		return n, permanentError{err}
	}
	w.watch.Reset(w.fetcher.Stall)
	w.done += int64(n)
	if w.done-w.reported >= 1<<20 {
		w.reportProgress()
	}
	return n, nil
}

func (w *progressWriter) reportProgress() {
	w.reported = w.done
	w.fetcher.Observe(models.Progress{Stage: "downloading", Item: w.item, Done: int(w.done), Total: int(w.total)})
}

// verifyChecksum reads a file and compares its checksum with the one expected.
func (f File) verifyChecksum(r io.ReadSeeker) error {
	if f.SHA256 == "" {
		return nil
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, f.SHA256) {
		return fmt.Errorf("%s: %w: SHA-256 %s instead of %s", f.URL, ErrChecksum, got, f.SHA256)
	}
	return nil
}
