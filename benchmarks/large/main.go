// Command large measures the memory and the time that it takes to fuse two large
// checkpoints with random weights, by weights, through examples/fuse, beside what
// fuse.Estimate says; or it says from shapes alone what outgrows what.
//
//	go run ./benchmarks/large [flags]
//	go run ./benchmarks/large -shapes
//
// Run it from the root of the repository. The checkpoints are written to a
// temporary directory and removed at the end: three times 1.3 GB, 2.2 GB for llama-1b.
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

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

type options struct {
	names, methods []string
	layers, rounds int
	shapes         bool
	json           string
}

func main() {
	cli.Main(func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		if o.shapes {
			return tellShapes(os.Stdout)
		}
		return run(ctx, o, os.Stdout)
	})
}

func parse(args []string) (options, error) {
	var o options
	known := slices.Sorted(maps.Keys(networks()))
	f := flag.NewFlagSet("large", flag.ContinueOnError)
	names := f.String("models", "vit-l,bert-large", "`networks`, comma-separated: "+strings.Join(known, ", "))
	methods := f.String("methods", "flow", "`methods`, comma-separated: "+strings.Join(knownMethods(), ", "))
	f.IntVar(&o.layers, "layers", 0, "`number` of layers; default: those of the network")
	f.IntVar(&o.rounds, "rounds", 0, "most `rounds` of matching; default: until nothing is gained, 20 at most")
	f.BoolVar(&o.shapes, "shapes", false, "print what outgrows what, from shapes alone, and end")
	f.StringVar(&o.json, "json", "", "JSON `file` to write the results to")
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	o.names, o.methods = strings.Split(*names, ","), strings.Split(*methods, ",")
	for _, n := range o.names {
		if !slices.Contains(known, n) {
			return o, fmt.Errorf("large: -models names %q, there are %s", n, strings.Join(known, ", "))
		}
	}
	for _, m := range o.methods {
		if !slices.Contains(knownMethods(), m) {
			return o, fmt.Errorf("large: -methods names %q, there are %s", m, strings.Join(knownMethods(), ", "))
		}
	}
	return o, nil
}

// A row is one fusion.
type row struct {
	Model      string   `json:"model"`
	Method     string   `json:"method"`
	Layers     int      `json:"layers"`
	Rounds     int      `json:"rounds,omitempty"`
	Parameters int      `json:"parameters"` // of each of the two
	MiB        float64  `json:"two_checkpoints_mib"`
	Estimate   float64  `json:"estimated_mib"`      // of memory that is reachable at once
	PeakMiB    *float64 `json:"peak_mib,omitempty"` // of resident memory, absent where the system does not tell
	Seconds    float64  `json:"seconds"`            // from reading to writing
	CPU        float64  `json:"cpu_seconds"`        // of all processors together
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
		more, err := o.measure(ctx, name, tmp, program, w)
		if rows = append(rows, more...); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if o.json == "" {
		return nil
	}
	return report.WriteJSON(o.json, rows)
}

// measure fuses two networks of one name by every method.
func (o options) measure(ctx context.Context, name, tmp, program string, w io.Writer) (rows []row, err error) {
	n := networks()[name].withLayers(o.layers)
	dirs := []string{filepath.Join(tmp, name+"0"), filepath.Join(tmp, name+"1")}
	defer func() { err = errors.Join(err, os.RemoveAll(dirs[0]), os.RemoveAll(dirs[1])) }()
	var pair []*models.Model
	for seed, dir := range dirs {
		cli.Notice("%s: drawing checkpoint %d", name, seed)
		if err := n.draw(uint64(seed), dir); err != nil {
			return nil, err
		}
		m, err := models.Link(dir)
		if err != nil {
			return nil, err
		}
		pair = append(pair, m)
	}
	for _, method := range o.methods {
		r := row{Model: name, Method: method, Layers: pair[0].Dims().Depth, Parameters: pair[0].Size()}
		if err := o.fuse(ctx, &r, pair, append([]string{program, tmp}, dirs...)); err != nil {
			return rows, err
		}
		rows = append(rows, r)
		fmt.Fprintf(w, "%s, %d layers, %s: two checkpoints of %d parameters, %.0f MiB; %.0f s, %.0f s of processors; "+
			"estimated %.0f MiB", name, r.Layers, method, r.Parameters, r.MiB, r.Seconds, r.CPU, r.Estimate)
		if r.PeakMiB != nil {
			fmt.Fprintf(w, "; peak %.0f MiB, %.2f times as much as both", *r.PeakMiB, *r.PeakMiB/r.MiB)
		}
		fmt.Fprintln(w)
	}
	return rows, nil
}

// fuse fuses a pair by the method of a row, with the paths of the program, of a temporary
// directory and of the pair.
func (o options) fuse(ctx context.Context, r *row, pair []*models.Model, paths []string) error {
	method, recipe := by(r.Method), fmt.Sprintf(`{"method": %q}`, r.Method)
	if matching, ok := method.(fuse.Matching); ok && o.rounds > 0 {
		r.Rounds, matching.Rounds = o.rounds, o.rounds
		method, recipe = matching, fmt.Sprintf(`{"method": %q, "rounds": %d}`, r.Method, o.rounds)
	}
	out := filepath.Join(paths[1], "fused")
	needs, err := fuse.Estimate(pair[0], pair[1:], method, &fuse.Settings{Directory: &fuse.Directory{Path: out}})
	if err != nil {
		return err
	}
	r.MiB, r.Estimate = 2*mebibytes(needs.Result), mebibytes(needs.Memory())
	config := filepath.Join(paths[1], "config.json")
	if err := os.WriteFile(config, []byte(recipe), 0o600); err != nil {
		return err
	}
	cli.Notice("%s: fusing by %s", r.Model, r.Method)
	started := time.Now()
	spent, err := runCommand(ctx, paths[0], append([]string{"-out", out, "-config", config}, paths[2:]...)...)
	r.Seconds = time.Since(started).Seconds()
	r.PeakMiB, r.CPU = spent.peak, spent.processors
	return errors.Join(err, os.RemoveAll(out))
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// usage is what a program took.
type usage struct {
	peak       *float64 // resident memory, MiB
	processors float64  // seconds
}

// runCommand runs a program and returns what it took.
func runCommand(ctx context.Context, name string, args ...string) (used usage, err error) {
	c := exec.CommandContext(ctx, name, args...)
	var text bytes.Buffer
	c.Stdout, c.Stderr = &text, &text
	if err := c.Start(); err != nil {
		return used, err
	}
	done := make(chan error)
	go func() { done <- c.Wait() }()
	for {
		select {
		case err := <-done:
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", filepath.Base(name), err, text.String())
			}
			used.processors = (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds()
			return used, err
		case <-time.After(pollInterval): // what the system keeps of an ended process counts its parent in
			if p := meter.Peak(strconv.Itoa(c.Process.Pid)); p != nil {
				used.peak = p
			}
		}
	}
}

// pollInterval is the time between two looks at a process.
const pollInterval = 10 * time.Millisecond
