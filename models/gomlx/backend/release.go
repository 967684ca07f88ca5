//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gomlx/go-xla/installer"
	"github.com/gomlx/go-xla/pjrt"

	"github.com/otfuse/otfuse/internal/dataset/fetch"
)

const (
	lookupLimit  = 10 * time.Second // to be told where the release is; a missing network shows here
	releaseLimit = 30 * time.Minute // to download it
	releaseBytes = 100_000_000      // about what it has
	answerLimit  = 4 << 20          // bytes of the description of a release
)

// A release is the plugin of the release that go-xla is made for. Its address and
// its SHA-256 sum are what the publisher's site says of it: it is as safe as the
// connection to that site.
type release struct {
	description string // URL
}

// cpuRelease is the release for this version of go-xla.
func cpuRelease() release {
	return release{fmt.Sprintf("https://api.github.com/repos/%s/releases/tags/%s",
		installer.BinaryCPUReleasesRepo, pjrt.DefaultCPUVersion)}
}

func (r release) source(o observer) source {
	return source{
		name:  pjrt.DefaultCPUVersion,
		bytes: releaseBytes,
		write: func(ctx context.Context, w io.Writer, scratch string) error {
			file, err := r.archive(ctx)
			if err != nil {
				return err
			}
			o.notice("fetching the XLA plugin for the CPU, release %s", pjrt.DefaultCPUVersion)
			ctx, cancel := context.WithTimeout(ctx, releaseLimit)
			defer cancel()
			path := filepath.Join(scratch, "plugin.tar.gz")
			fetcher := fetch.Fetcher{Observe: o}
			if err := fetcher.Fetch(ctx, file, path); err != nil {
				return err
			}
			archive, err := os.Open(path)
			if err != nil {
				return err
			}
			defer archive.Close()
			if err := unpackArchive(w, archive); err != nil {
				return fmt.Errorf("%s: %w", file.URL, err)
			}
			return nil
		},
	}
}

// archive finds the archive for this platform in the description of the release. One
// without a SHA-256 sum is refused.
func (r release) archive(ctx context.Context) (fetch.File, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.description, http.NoBody)
	if err != nil {
		return fetch.File{}, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fetch.File{}, fmt.Errorf("where the release is: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fetch.File{}, fmt.Errorf("%s: %s", r.description, answer.Status)
	}
	var found struct {
		Assets []struct {
			Name   string
			Digest string
			URL    string `json:"browser_download_url"`
		}
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, answerLimit)).Decode(&found); err != nil {
		return fetch.File{}, fmt.Errorf("%s: %w", r.description, err)
	}
	name := fmt.Sprintf("pjrt_cpu_%s_%s.tar.gz", runtime.GOOS, runtime.GOARCH)
	for _, asset := range found.Assets {
		if asset.Name != name {
			continue
		}
		sum, ok := strings.CutPrefix(asset.Digest, "sha256:")
		if !ok {
			return fetch.File{}, fmt.Errorf("%s: %s has no SHA-256 sum", r.description, name)
		}
		return fetch.File{URL: asset.URL, SHA256: sum, Limit: pluginLimit}, nil
	}
	return fetch.File{}, fmt.Errorf("%s: it has no %s", r.description, name)
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
