//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"archive/tar"
	zipfile "archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
	"github.com/gomlx/go-xla/installer"
	"github.com/gomlx/go-xla/pjrt"

	"github.com/otfuse/otfuse/internal/atomicfile"
)

const (
	lookupLimit  = 5 * time.Second  // to be told where the release is; no network shows here
	releaseLimit = 2 * time.Minute  // to download it
	pipLimit     = 15 * time.Minute // pip has time limits of its own for a server that is silent
	lockPoll     = 200 * time.Millisecond
	pluginLimit  = 2 << 30 // bytes of a plugin, against an archive that never ends
)

// pinnedWheel is a wheel whose one native file is an XLA plugin for the CPU.
func pinnedWheel() wheel {
	return wheel{
		requirement: "lammps-jax-pjrt-cpu==0.11.2",
		sha256:      "1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1",
		member:      "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so",
	}
}

// pluginStore is a directory that holds at most one plugin of each source.
type pluginStore struct {
	dir     string
	sources []source // in the order to try them
	notice  func(string)
}

// source is a place that a CPU plugin comes from.
type source struct {
	name string // tells builds apart in a file name
	// write writes the plugin to w; scratch is an empty directory to use.
	write func(ctx context.Context, w io.Writer, scratch string) error
}

// userStore is the store in the user's cache directory.
func userStore(notice func(string)) (*pluginStore, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	s := &pluginStore{dir: filepath.Join(cache, "otfuse", "xla"), notice: notice}
	s.sources = []source{release{lookup: lookupRelease}.source(notice)}
	if runtime.GOARCH == "amd64" {
		s.sources = append(s.sources, pinnedWheel().source(notice))
	}
	return s, nil
}

// path is where the store keeps the plugin of src. go-xla reads the "cpu" in it.
func (s *pluginStore) path(src source) string {
	return filepath.Join(s.dir, "pjrt_c_api_cpu_"+src.name+"_plugin.so")
}

// fetch returns the path of the plugin of src, which it fetches if it is not in
// the store. Of several processes one fetches and the others wait for it.
func (s *pluginStore) fetch(ctx context.Context, src source) (path string, err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return "", err
	}
	lock := flock.New(filepath.Join(s.dir, "lock"))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	// Closing cannot fail in a way that matters: the system drops the lock anyway.
	defer func() { _ = lock.Close() }()
	for _, other := range s.sources { // another process may have been first, with any source
		if path := s.path(other); isFile(path) {
			return path, nil
		}
	}
	scratch := filepath.Join(s.dir, "scratch")
	if err := errors.Join(os.RemoveAll(scratch), os.Mkdir(scratch, 0o755)); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	path = s.path(src)
	if err := atomicfile.WriteFile(path, func(w io.Writer) error { return src.write(ctx, w, scratch) }); err != nil {
		return "", err
	}
	return path, nil
}

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

func (r release) source(notice func(string)) source {
	return source{
		name: pjrt.DefaultCPUVersion,
		write: func(ctx context.Context, w io.Writer, _ string) error {
			url, err := r.address(ctx)
			if err != nil {
				return err
			}
			notice(fmt.Sprintf("fetching the XLA plugin for the CPU, release %s", pjrt.DefaultCPUVersion))
			ctx, cancel := context.WithTimeout(ctx, releaseLimit)
			defer cancel()
			return fetchArchive(ctx, w, url)
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

// fetchArchive writes to w the plugin in the compressed archive at url.
func fetchArchive(ctx context.Context, w io.Writer, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: lookupLimit}).DialContext,
		TLSHandshakeTimeout:   lookupLimit,
		ResponseHeaderTimeout: 2 * lookupLimit,
		DisableKeepAlives:     true,
	}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	if err := untar(w, resp.Body); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}

// untar writes to w the CPU plugin in the gzipped tar archive r.
func untar(w io.Writer, r io.Reader) error {
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

// wheel is a package of the Python package index with a plugin in it.
type wheel struct {
	requirement string // name==version
	sha256      string // of the wheel
	member      string // path of the plugin in the wheel
}

func (p wheel) source(notice func(string)) source {
	return source{
		name: "wheel-" + p.sha256[:12],
		write: func(ctx context.Context, w io.Writer, scratch string) error {
			notice(fmt.Sprintf("fetching the XLA plugin for the CPU with pip, wheel %s", p.requirement))
			ctx, cancel := context.WithTimeout(ctx, pipLimit)
			defer cancel()
			path, err := p.download(ctx, scratch)
			if err != nil {
				return err
			}
			return p.unpack(w, path)
		},
	}
}

// download has pip fetch the wheel into dir: pip knows the user's index, proxy
// and certificates.
func (p wheel) download(ctx context.Context, dir string) (string, error) {
	list := filepath.Join(dir, "requirements.txt")
	line := fmt.Sprintf("%s --hash=sha256:%s\n", p.requirement, p.sha256)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "--disable-pip-version-check", "--no-input", "download",
		"--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", list, "--dest", dir)
	cmd.WaitDelay = lookupLimit
	if said, err := cmd.CombinedOutput(); err != nil {
		said = bytes.TrimSpace(said)
		last := said[bytes.LastIndexByte(said, '\n')+1:]
		return "", fmt.Errorf("pip download %s: %w %s", p.requirement, err, last)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("pip download %s: %d wheels, want 1", p.requirement, len(found))
	}
	return found[0], nil
}

// unpack writes to w the plugin in the wheel at path, which must be the pinned one.
func (p wheel) unpack(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.sha256 {
		return fmt.Errorf("%s: SHA-256 is %s, want %s", filepath.Base(path), got, p.sha256)
	}
	archive, err := zipfile.NewReader(f, size)
	if err != nil {
		return err
	}
	member, err := archive.Open(p.member)
	if err != nil {
		return err
	}
	defer member.Close()
	return copyPlugin(w, member)
}

// copyPlugin copies a plugin of a credible size.
func copyPlugin(w io.Writer, r io.Reader) error {
	n, err := io.Copy(w, io.LimitReader(r, pluginLimit+1))
	if err == nil && n > pluginLimit {
		return fmt.Errorf("the plugin has more than %d bytes", int64(pluginLimit))
	}
	return err
}
