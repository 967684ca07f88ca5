package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // for the script
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
)

//go:embed peers.py
var script []byte

// peers runs the same network in PyTorch and JAX where a Python has them, and says
// which it has not. Neither is needed.
func (b *bench) peers(ctx context.Context, python string) {
	rows, err := b.runScript(ctx, cmp.Or(python, interpreter()))
	for _, x := range rows {
		x.Images = b.size.Batch
		b.add(x)
	}
	if err != nil {
		cli.Notice("no comparison: %v", err)
	}
}

// interpreter is the Python of the active virtual environment, or the one in the path.
func interpreter() string {
	if env := os.Getenv("VIRTUAL_ENV"); env != "" {
		return filepath.Join(env, "bin", "python3")
	}
	return "python3"
}

// runScript runs the script in a folder of its own, isolated from the user's.
func (b *bench) runScript(ctx context.Context, python string) ([]row, error) {
	sizes, err := json.Marshal(b.size)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "otfuse-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, python, "-I", "-", string(sizes))
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, bytes.NewReader(script), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", python, err)
	}
	var rows []row
	for line := range bytes.Lines(out) {
		var x row
		if err := json.Unmarshal(line, &x); err != nil {
			return rows, fmt.Errorf("%s says %q: %w", python, line, err)
		}
		rows = append(rows, x)
	}
	return rows, nil
}
