//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	zipfile "archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// pipLimit is the time that pip gets, which has limits of its own for a server
// that is silent, and pipGrace what it gets to end once it is told to.
const (
	pipLimit = 15 * time.Minute
	pipGrace = 5 * time.Second
)

// pinnedWheel is a wheel whose one native file is an XLA plugin for the CPU.
func pinnedWheel() wheel {
	return wheel{
		requirement: "lammps-jax-pjrt-cpu==0.11.2",
		sha256:      "1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1",
		member:      "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so",
	}
}

// wheel is a package of the Python package index with a plugin in it.
type wheel struct {
	requirement string // name==version
	sha256      string // of the wheel
	member      string // path of the plugin in the wheel
}

func (p wheel) source(o observer) source {
	return source{
		name: "wheel-" + p.sha256[:12],
		write: func(ctx context.Context, w io.Writer, scratch string) error {
			o.notice("fetching the XLA plugin for the CPU with pip, wheel %s", p.requirement)
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
	cmd.WaitDelay = pipGrace
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
