//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gomlx/go-xla/installer"
	"github.com/gomlx/go-xla/pjrt"

	"github.com/otfuse/otfuse/internal/dataset/fetch"
)

const (
	lookupLimit  = 5 * time.Second // to be told where the release is; a missing network shows here
	releaseLimit = 2 * time.Minute // to download it
)

// release is the plugin of the release that go-xla is made for. Its publisher
// gives no hash, so it is as safe as the connection.
type release struct {
	lookup func() (url string, err error)
}

// lookupRelease asks go-xla's installer. Nothing else of it is used: the rest
// draws on standard output and cannot be interrupted.
func lookupRelease() (string, error) {
	return installer.CPUGetDownloadURL(runtime.GOOS+"_"+runtime.GOARCH, pjrt.DefaultCPUVersion)
}

func (r release) source(o observer) source {
	return source{
		name: pjrt.DefaultCPUVersion,
		write: func(ctx context.Context, w io.Writer, scratch string) error {
			url, err := r.address(ctx)
			if err != nil {
				return err
			}
			o.notice("fetching the XLA plugin for the CPU, release %s", pjrt.DefaultCPUVersion)
			ctx, cancel := context.WithTimeout(ctx, releaseLimit)
			defer cancel()
			archive, err := openArchive(ctx, url, scratch, o)
			if err != nil {
				return err
			}
			defer archive.Close()
			if err := unpackArchive(w, archive); err != nil {
				return fmt.Errorf("%s: %w", url, err)
			}
			return nil
		},
	}
}

// address waits for the lookup for a short while. One that comes too late has no effect.
func (r release) address(ctx context.Context) (string, error) {
	type answer struct {
		url string
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		var a answer
		a.err = recovered(func() (err error) { a.url, err = r.lookup(); return err })
		answers <- a
	}()
	select {
	case a := <-answers:
		return a.url, a.err
	case <-ctx.Done():
		return "", fmt.Errorf("where the release is: %w", ctx.Err())
	}
}

// openArchive downloads the archive at url into a directory.
func openArchive(ctx context.Context, url, dir string, o observer) (*os.File, error) {
	path := filepath.Join(dir, "plugin.tar.gz")
	f := fetch.Fetcher{Observe: o}
	if err := f.Fetch(ctx, fetch.File{URL: url, Limit: pluginLimit}, path); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// unpackArchive writes to w the CPU plugin in the gzipped tar archive r.
func unpackArchive(w io.Writer, r io.Reader) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	archive := tar.NewReader(z)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("the archive holds no CPU plugin")
		}
		if err != nil {
			return err
		}
		match, _ := filepath.Match("pjrt_c_api_cpu_*plugin.so", filepath.Base(header.Name))
		if match && header.Typeflag == tar.TypeReg {
			break
		}
	}
	if err := copyPlugin(w, archive); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(z, pluginLimit)) // the checksum is at the end
	return err
}
