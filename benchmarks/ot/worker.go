package main

import (
	"bufio"
	"context"
	_ "embed" // the worker
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/otfuse/otfuse/internal/atomicfile"
)

//go:embed worker.py
var script []byte

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

// startWorker installs the peers where they are missing.
func startWorker(ctx context.Context, o options) (*worker, error) {
	python, err := installPeers(ctx, o.peers)
	if err != nil {
		return nil, err
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
// the limit of a run, and readOut that for what its plan costs.
const (
	startUp = 30 * time.Second
	readOut = 5 * time.Second
)

// answer is a line that the worker writes: that the peer is ready, then what it found.
type answer struct {
	outcome
	Ready bool `json:"ready"`
	err   error
}

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
	answers := w.answers()
	timer := time.NewTimer(limit + startUp)
	defer timer.Stop()
	for {
		select {
		case a := <-answers:
			if a.Ready {
				timer.Reset(limit + readOut)
				continue
			}
			if a.err == nil && a.Error != "" {
				a.err = errors.New(a.Error)
			}
			return a.outcome, a.err
		case <-ctx.Done():
			w.kill()
			return outcome{}, ctx.Err()
		case <-timer.C:
			w.kill()
			return outcome{}, errLimit
		}
	}
}

// answers reads the answers to one task.
func (w *worker) answers() <-chan answer {
	out, from := make(chan answer, 2), w.out
	go func() {
		for {
			var a answer
			text, err := from.ReadBytes('\n')
			if a.err = err; err == nil {
				a.err = json.Unmarshal(text, &a)
			}
			out <- a
			if !a.Ready {
				return
			}
		}
	}()
	return out
}
