// Command gpu measures on one device what fusing vision transformers takes: forward
// passes, updates and calibration in float32, with TF32 products and in bfloat16,
// transport plans, and memory, beside PyTorch and JAX where a Python has them.
//
//	go run ./benchmarks/gpu [flags]
//
// On a GPU the network is the paper's (7 layers, 384 wide) in batches of 128; on a
// processor a small one, since the point is then that the command runs. Weights and
// images are random.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/report"
)

// A size is a network and how often it is run.
type size struct {
	Units    int `json:"units"`
	Layers   int `json:"layers"`
	Heads    int `json:"heads"`
	MLP      int `json:"mlp"`
	Batch    int `json:"batch"`    // images
	Repeat   int `json:"repeat"`   // calls that are timed, after the first
	Sinkhorn int `json:"sinkhorn"` // units of both sides of a transport problem
}

// sizes are those that -size names.
func sizes() map[string]size {
	return map[string]size{
		"paper": {Units: 384, Layers: 7, Heads: 12, MLP: 1536, Batch: 128, Repeat: 20, Sinkhorn: 1536},
		"small": {Units: 64, Layers: 2, Heads: 4, MLP: 128, Batch: 16, Repeat: 5, Sinkhorn: 128},
	}
}

// options are the flags.
type options struct {
	size          string
	batch, repeat int
	python, file  string
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
	f := flag.NewFlagSet("gpu", flag.ContinueOnError)
	f.StringVar(&o.size, "size", "", "network: paper or small; the paper's on a GPU and a small one elsewhere if empty "+
		"(`name`)")
	f.IntVar(&o.batch, "batch", 0, "`images` at a time; 128 for the paper's network and 16 for the small one if 0")
	f.IntVar(&o.repeat, "repeat", 0, "`number` of calls that are timed, whose median counts; 20 or 5 if 0")
	f.StringVar(&o.python, "python", "", "`interpreter` that has PyTorch or JAX; that of $VIRTUAL_ENV or python3 if "+
		"empty, none for no comparison")
	f.StringVar(&o.file, "report", "", "JSON `file` to write the results to")
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	_, known := sizes()[o.size]
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("gpu: unexpected argument %q", f.Arg(0))
	case o.size != "" && !known:
		return o, fmt.Errorf("gpu: -size is %q, want paper or small", o.size)
	case min(o.batch, o.repeat) < 0:
		return o, errors.New("gpu: -batch and -repeat must not be negative")
	}
	return o, nil
}

// results is what was measured.
type results struct {
	Backend string `json:"backend"`
	GPU     string `json:"gpu,omitempty"` // as nvidia-smi names it
	Size    size   `json:"size"`
	Rows    []row  `json:"rows"`
}

// A row is one kind of call of one tool.
type row struct {
	Tool      string   `json:"tool"`
	Call      string   `json:"call"`
	Precision string   `json:"precision"`
	Seconds   float64  `json:"seconds"`              // of a call, the median
	First     float64  `json:"first_seconds"`        // of the first call, compilation included
	Images    int      `json:"images"`               // of a call; 0 where it reads none
	Memory    *float64 `json:"memory_mib,omitempty"` // of the GPU, or of the process without one; nil where unknown
}

func run(ctx context.Context, o options, w io.Writer) error {
	r, err := measure(ctx, o)
	if err != nil {
		return err
	}
	if err := r.print(w); err != nil {
		return err
	}
	if o.file == "" {
		return nil
	}
	return report.WriteJSON(o.file, r)
}

func (r *results) print(w io.Writer) error {
	fmt.Fprintf(w, "%s\nViT of %d layers, %d wide, in batches of %d images\n\n", r.Backend, r.Size.Layers, r.Size.Units,
		r.Size.Batch)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "milliseconds\timages/s\tfirst s\tMiB\t  call")
	for _, x := range r.Rows {
		perSecond, memory := "-", "-"
		if x.Images > 0 {
			perSecond = fmt.Sprintf("%.0f", float64(x.Images)/x.Seconds)
		}
		if x.Memory != nil {
			memory = fmt.Sprintf("%.0f", *x.Memory)
		}
		fmt.Fprintf(t, "%.2f\t%s\t%.2f\t%s\t  %s: %s, %s\n", 1000*x.Seconds, perSecond, x.First, memory, x.Tool, x.Call,
			x.Precision)
	}
	return t.Flush()
}
