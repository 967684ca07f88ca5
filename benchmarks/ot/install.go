package main

import (
	"context"
	_ "embed" // the requirements
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
)

// requirements are those of all peers but MDOT.
//
//go:embed requirements.txt
var requirements []byte

// mdotRequirements are MDOT itself. It needs torchRequirements, which take gigabytes.
//
//go:embed requirements-mdot.txt
var mdotRequirements []byte

//go:embed requirements-torch.txt
var torchRequirements []byte

// environment is a virtual environment of Python in the user's cache.
type environment struct{ dir string }

func (e environment) python() string { return filepath.Join(e.dir, "bin", "python") }

// installPeers returns the Python of an environment with the peers, which it makes or
// completes where something is missing.
func installPeers(ctx context.Context, peers []string) (python string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	e := environment{filepath.Join(cache, "otfuse", fmt.Sprintf("ot-peers-%08x", crc32.ChecksumIEEE(requirements)))}
	if !e.has(requirements) {
		if err := command(ctx, "python3", "-m", "venv", "--clear", e.dir); err != nil {
			return "", fmt.Errorf("ot: making a Python environment for the peers: %w; -peers none runs without them", err)
		}
	}
	if err := e.install(ctx, requirements); err != nil {
		return "", fmt.Errorf("ot: installing the peers: %w; -peers none runs without them", err)
	}
	if !slices.Contains(peers, "mdot") {
		return e.python(), nil
	}
	if err := e.installMDOT(ctx); err != nil {
		return "", fmt.Errorf("ot: installing MDOT: %w; leave mdot out of -peers, or set OTFUSE_PYTHON to a Python "+
			"with PyTorch, of the version of python3", err)
	}
	return e.python(), nil
}

// installMDOT installs MDOT with the PyTorch of OTFUSE_PYTHON where that works, and
// otherwise with one of its own.
func (e environment) installMDOT(ctx context.Context) error {
	if err := e.install(ctx, mdotRequirements, "--no-deps"); err != nil {
		return err
	}
	if command(ctx, e.python(), "-c", "import mdot_tnt") == nil {
		return nil
	}
	if other := os.Getenv("OTFUSE_PYTHON"); other != "" {
		err := e.borrowTorch(ctx, other)
		if err == nil {
			return nil
		}
		cli.Notice("the PyTorch of OTFUSE_PYTHON is of no use here: %s", cli.OneLine(err))
	}
	return e.install(ctx, torchRequirements)
}

// borrowTorch lets the environment find the packages of another Python behind its own.
func (e environment) borrowTorch(ctx context.Context, other string) error {
	packages, err := output(ctx, other, "-c", "import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))")
	if err != nil {
		return err
	}
	own, err := output(ctx, e.python(), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
	if err != nil {
		return err
	}
	link := filepath.Join(own, "torch-of-another-python.pth")
	if err := os.WriteFile(link, []byte(packages+"\n"), 0o600); err != nil {
		return err
	}
	if err := command(ctx, e.python(), "-c", "import mdot_tnt"); err != nil {
		_ = os.Remove(link) // the error says more
		return err
	}
	return nil
}

// mark is the file that says that a list of requirements was installed.
func (e environment) mark(list []byte) string {
	return filepath.Join(e.dir, fmt.Sprintf("installed-%08x", crc32.ChecksumIEEE(list)))
}

func (e environment) has(list []byte) bool {
	_, err := os.Stat(e.mark(list))
	return err == nil
}

// install installs a list of requirements that was not installed before.
func (e environment) install(ctx context.Context, list []byte, options ...string) error {
	if e.has(list) {
		return nil
	}
	cli.Notice("installing %s into %s", strings.Join(strings.Fields(string(list)), ", "), e.dir)
	file := filepath.Join(e.dir, "requirements.txt")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		return err
	}
	pip := []string{"-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "-r", file}
	if err := command(ctx, e.python(), append(pip, options...)...); err != nil {
		return err
	}
	return os.WriteFile(e.mark(list), nil, 0o600)
}

func command(ctx context.Context, name string, args ...string) error {
	_, err := output(ctx, name, args...)
	return err
}

// output runs a command and returns what it prints, in one line where it fails.
func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		lines := strings.Split(text, "\n")
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(lines[len(lines)-1]))
	}
	return text, nil
}
