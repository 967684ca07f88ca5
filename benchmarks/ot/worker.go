package main

import (
	"bufio"
	"context"
	_ "embed" // the worker and its requirements
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/cli"
)

//go:embed worker.py
var script []byte

//go:embed requirements.txt
var requirements []byte

// torchRequirements are those of MDOT, which brings gigabytes with it.
//
//go:embed requirements-torch.txt
var torchRequirements []byte

// worker is a Python process that solves the problems it is handed, one after the
// other, so that its start is not counted.
type worker struct {
	python, dir string
	threads     int
	cmd         *exec.Cmd
	in          io.WriteCloser
	out         *bufio.Reader
}

// errLimit reports a run that took too long.
var errLimit = errors.New("the time limit of a run passed")

// startWorker makes the environment where it is missing.
func startWorker(ctx context.Context, o options) (*worker, error) {
	wanted := requirements
	if slices.Contains(o.peers, "mdot") {
		wanted = slices.Concat(requirements, torchRequirements)
	}
	python, err := environment(ctx, wanted)
	if err != nil {
		return nil, fmt.Errorf("ot: installing the peers: %w; -peers none runs without them", err)
	}
	dir, err := os.MkdirTemp("", "otfuse-ot-*")
	if err != nil {
		return nil, err
	}
	w := &worker{python: python, dir: dir, threads: o.threads}
	if err := os.WriteFile(w.path("worker.py"), script, 0o600); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, w.start(ctx)
}

// environment returns the Python of a virtual environment with the peers. There is
// one environment for each list of requirements.
func environment(ctx context.Context, requirements []byte) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "otfuse", fmt.Sprintf("ot-peers-%08x", crc32.ChecksumIEEE(requirements)))
	python, done := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return python, nil
	}
	cli.Notice("installing the peers into %s", dir)
	if err := command(ctx, "python3", "-m", "venv", "--clear", dir); err != nil {
		return "", err
	}
	list := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(list, requirements, 0o600); err != nil {
		return "", err
	}
	install := []string{"-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet", "-r", list}
	if err := command(ctx, python, install...); err != nil {
		return "", err
	}
	return python, os.WriteFile(done, nil, 0o600)
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func (w *worker) path(name string) string { return filepath.Join(w.dir, name) }

// start starts the process, which ends with ctx.
func (w *worker) start(ctx context.Context) error {
	w.cmd = exec.CommandContext(ctx, w.python, w.path("worker.py"))
	w.cmd.Stderr = os.Stderr
	w.cmd.Env = os.Environ()
	for _, name := range []string{"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} {
		w.cmd.Env = append(w.cmd.Env, fmt.Sprintf("%s=%d", name, w.threads))
	}
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	w.out = bufio.NewReader(out)
	return w.cmd.Start()
}

// stop ends the process and removes its files.
func (w *worker) stop() error {
	w.kill()
	return os.RemoveAll(w.dir)
}

func (w *worker) kill() {
	if w.cmd != nil && w.cmd.Process != nil {
		_ = w.cmd.Process.Kill() // it may be gone already
		_ = w.cmd.Wait()         // its error says that it was killed
	}
	w.cmd = nil
}

// set writes a problem for the worker: costs, then both masses, then potentials.
func (w *worker) set(p problem) error {
	return atomicfile.WriteFile(w.path("problem"), func(to io.Writer) error {
		buffered := bufio.NewWriter(to)
		for _, part := range [][]float64{p.cost.RawMatrix().Data, p.a, p.b, p.duals.U, p.duals.V} {
			if err := binary.Write(buffered, binary.LittleEndian, part); err != nil {
				return err
			}
		}
		return buffered.Flush()
	})
}

// task is a line that the worker reads.
type task struct {
	Path string  `json:"path"`
	N    int     `json:"n"`
	M    int     `json:"m"`
	Peer string  `json:"peer"`
	Reg  float64 `json:"reg"` // 0 for exact
	Tol  float64 `json:"tol"`

	Single bool `json:"float32"`
}

// startUp is the time that a peer has for its own start and compilation on top of
// the limit of a run.
const startUp = 10 * time.Second

// solve makes the peer solve the problem that was set.
func (w *worker) solve(ctx context.Context, c pairing, limit time.Duration) (outcome, error) {
	if w.cmd == nil {
		if err := w.start(ctx); err != nil {
			return outcome{}, err
		}
	}
	n, m := c.cost.Dims()
	line, err := json.Marshal(task{w.path("problem"), n, m, c.peer, c.reg, tolerance, c.form == single})
	if err != nil {
		return outcome{}, err
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil {
		return outcome{}, err
	}
	type answer struct {
		outcome
		err error
	}
	answers, from := make(chan answer, 1), w.out
	go func() {
		var a answer
		text, err := from.ReadBytes('\n')
		if a.err = err; err == nil {
			a.err = json.Unmarshal(text, &a.outcome)
		}
		answers <- a
	}()
	select {
	case a := <-answers:
		if a.err == nil && a.Error != "" {
			a.err = errors.New(a.Error)
		}
		return a.outcome, a.err
	case <-ctx.Done():
		w.kill()
		return outcome{}, ctx.Err()
	case <-time.After(limit + startUp):
		w.kill()
		return outcome{}, errLimit
	}
}
