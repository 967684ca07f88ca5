// Command papersize measures what a fusion of two vision transformers of the
// paper's size takes: seconds and memory, phase by phase.
//
//	go run ./benchmarks/papersize [flags]
//
// Weights and images are random, so nothing is downloaded; the time of every
// phase but the solvers does not depend on their values.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"text/tabwriter"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/report"
)

type options struct {
	dim, layers, heads, mlp int // of both models
	images, batch           int
	json, profile           string
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

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("papersize", flag.ContinueOnError)
	f.IntVar(&o.dim, "dim", 384, "`units` of the residual stream")
	f.IntVar(&o.layers, "layers", 7, "`number` of layers")
	f.IntVar(&o.heads, "heads", 12, "`number` of attention heads; divides the units")
	f.IntVar(&o.mlp, "mlp", 1536, "`units` of the feed-forward layers")
	f.IntVar(&o.images, "images", 200, "`number` of calibration images, 3×32×32 in patches of 4×4; memory is measured "+
		"with 4 and 8 times as many too")
	f.IntVar(&o.batch, "batch", 0, "calibration images at a time; 0 means the library's own `number`")
	f.StringVar(&o.json, "json", "", "JSON `file` to write the results to")
	f.StringVar(&o.profile, "cpuprofile", "", "`file` to write a profile of all phases to, for go tool pprof")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: papersize [flags]\n\nMeasures the fusion of two random vision transformers of the "+
			"paper's size.")
		f.PrintDefaults()
	}
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("papersize: unexpected argument %q", f.Arg(0))
	case min(o.dim, o.layers, o.heads, o.mlp, o.images) < 1 || o.batch < 0:
		return o, errors.New("papersize: sizes must be at least 1")
	case o.dim%o.heads != 0:
		return o, fmt.Errorf("papersize: -dim %d is not a multiple of -heads %d", o.dim, o.heads)
	}
	return o, nil
}

func run(ctx context.Context, o options, w io.Writer) (err error) {
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return fmt.Errorf("-cpuprofile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("-cpuprofile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	r, err := measure(ctx, o)
	if err != nil {
		return err
	}
	if err := r.print(w); err != nil {
		return err
	}
	if o.json == "" {
		return nil
	}
	return report.WriteJSON(o.json, r)
}

// results is what was measured.
type results struct {
	Backend    string `json:"backend"`
	Processors int    `json:"processors"`
	Parameters int    `json:"parameters"` // of each model
	Images     int    `json:"images"`
	Rows       []row  `json:"rows"`
}

// A row is one phase.
type row struct {
	Phase string `json:"phase"`
	meter.Usage
}

func (r *results) print(w io.Writer) error {
	fmt.Fprintf(w, "2 models of %.1f million parameters, %d images, %s, %d processors\n\n",
		float64(r.Parameters)/1e6, r.Images, r.Backend, r.Processors)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "seconds\tprocessor seconds\tpeak MiB\t  phase")
	for _, x := range r.Rows {
		fmt.Fprintf(t, "%.2f\t%s\t%s\t  %s\n", x.Seconds, number("%.2f", x.CPU), number("%.0f", x.PeakMiB), x.Phase)
	}
	return t.Flush()
}

func number(format string, v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, *v)
}
