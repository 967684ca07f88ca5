// Command large measures the memory that it takes to fuse two large checkpoints
// with random weights, by weights, through examples/fuse.
//
//	go run ./benchmarks/large [flags]
//
// Run it from the root of the repository. The checkpoints are written to a
// temporary directory and removed at the end: three times 1.3 GB.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

type options struct {
	names []string
	json  string
}

func main() {
	cli.Main(func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		return run(ctx, o, os.Stdout)
	})
}

// A network is what can be fused.
type network struct {
	arch   models.Architecture
	config models.Config
}

func networks() map[string]network {
	vit := models.ViTConfig{Hidden: 1024, Layers: 24, Heads: 16, MLP: 4096, Act: graph.GELU, Eps: 1e-12,
		Image: 224, Patch: 16, Channels: 3, Labels: map[string]string{}, DType: "float32"}
	for i := range 1000 {
		vit.Labels[fmt.Sprint(i)] = fmt.Sprint("LABEL_", i)
	}
	bert := models.BERTConfig{Hidden: 1024, Layers: 24, Heads: 16, MLP: 4096, Act: graph.GELU, Eps: 1e-12,
		Vocab: 30_522, Positions: 512, TypeVocab: 2, DType: "float32"}
	small := bert
	small.Hidden, small.Layers, small.Heads, small.MLP, small.Vocab = 16, 2, 2, 64, 100
	return map[string]network{
		"vit-l":      {models.ViT(), vit},
		"bert-large": {models.BERTForMaskedLM(), bert},
		"bert-small": {models.BERTForMaskedLM(), small},
	}
}

func parse(args []string) (options, error) {
	var o options
	known := slices.Sorted(maps.Keys(networks()))
	f := flag.NewFlagSet("large", flag.ContinueOnError)
	names := f.String("models", "vit-l,bert-large", "`networks`, comma-separated: "+strings.Join(known, ", "))
	f.StringVar(&o.json, "json", "", "JSON `file` to write the results to")
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	o.names = strings.Split(*names, ",")
	for _, n := range o.names {
		if !slices.Contains(known, n) {
			return o, fmt.Errorf("large: -models names %q, there are %s", n, strings.Join(known, ", "))
		}
	}
	return o, nil
}

// A row is one fusion.
type row struct {
	Model      string   `json:"model"`
	Parameters int      `json:"parameters"` // of each of the two
	MiB        float64  `json:"two_checkpoints_mib"`
	PeakMiB    *float64 `json:"peak_mib,omitempty"` // of resident memory, absent where the system does not tell
	Seconds    float64  `json:"seconds"`            // from reading to writing
}

func run(ctx context.Context, o options, w io.Writer) (err error) {
	tmp, err := os.MkdirTemp("", "large-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	program := filepath.Join(tmp, "fuse")
	if _, err := runCommand(ctx, "go", "build", "-o", program, "github.com/otfuse/otfuse/examples/fuse"); err != nil {
		return err
	}
	var rows []row
	for _, name := range o.names {
		r, err := measure(ctx, name, tmp, program)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rows = append(rows, r)
		fmt.Fprintf(w, "%s: two checkpoints of %d parameters, %.0f MiB; %.0f s", name, r.Parameters, r.MiB, r.Seconds)
		if r.PeakMiB != nil {
			fmt.Fprintf(w, "; peak %.0f MiB, %.2f times as much", *r.PeakMiB, *r.PeakMiB/r.MiB)
		}
		fmt.Fprintln(w)
	}
	if o.json == "" {
		return nil
	}
	return report.WriteJSON(o.json, rows)
}

// measure fuses two networks of one name.
func measure(ctx context.Context, name, tmp, program string) (r row, err error) {
	r.Model = name
	var dirs []string
	for seed := range 2 {
		cli.Notice("%s: drawing checkpoint %d", name, seed)
		dir := filepath.Join(tmp, fmt.Sprint(name, seed))
		if r.Parameters, err = saveRandom(networks()[name], uint64(seed), dir); err != nil {
			return r, err
		}
		dirs = append(dirs, dir)
	}
	r.MiB = 2 * 4 * float64(r.Parameters) / (1 << 20)
	out := filepath.Join(tmp, name)
	cli.Notice("%s: fusing", name)
	started := time.Now()
	r.PeakMiB, err = runCommand(ctx, program, append([]string{"-out", out}, dirs...)...)
	r.Seconds = time.Since(started).Seconds()
	return r, errors.Join(err, os.RemoveAll(out), os.RemoveAll(dirs[0]), os.RemoveAll(dirs[1]))
}

// saveRandom saves a network with random weights and returns how many.
func saveRandom(n network, seed uint64, dir string) (int, error) {
	m, err := models.Fresh(n.arch, n.config, seed, 0.02)
	if err != nil {
		return 0, err
	}
	return m.Size(), m.Save(dir)
}

// runCommand runs a program and returns the most memory that it held.
func runCommand(ctx context.Context, name string, args ...string) (*float64, error) {
	c := exec.CommandContext(ctx, name, args...)
	var text bytes.Buffer
	c.Stdout, c.Stderr = &text, &text
	if err := c.Start(); err != nil {
		return nil, err
	}
	done := make(chan error)
	go func() { done <- c.Wait() }()
	var peak *float64
	for {
		select {
		case err := <-done:
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", filepath.Base(name), err, text.String())
			}
			return peak, err
		case <-time.After(pollInterval): // what the system keeps of an ended process counts its parent in
			if p := meter.Peak(strconv.Itoa(c.Process.Pid)); p != nil {
				peak = p
			}
		}
	}
}

// pollInterval is the time between two looks at a process.
const pollInterval = 10 * time.Millisecond
