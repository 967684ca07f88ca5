// Command checkpoints fuses checkpoints that somebody else trained, in every way, and
// scores what comes out on one file of samples after the other.
//
//	go run ./benchmarks/checkpoints -calib FILE -eval FILE[,FILE...] ANCHOR OTHER...
//	go run ./benchmarks/checkpoints -planted SEED -calib FILE ANCHOR
//
// ANCHOR and OTHER are checkpoint directories, the files hold samples as
// [models.Model.ReadSamples] reads them, those of -eval with labels. With -planted, the
// other model is a copy of the anchor whose units are put into another order at random,
// wherever that keeps the network; what is shown is how much of that matching undoes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

type options struct {
	calib   string
	eval    []string
	planted uint64
	samples int
	updates int
	batch   int
	methods []string
	parents []string
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
	f := flag.NewFlagSet("checkpoints", flag.ContinueOnError)
	f.StringVar(&o.calib, "calib", "", "safetensors `file` of samples to align on")
	eval := f.String("eval", "", "safetensors `files` of labelled samples to score on, comma-separated")
	f.Uint64Var(&o.planted, "planted", 0, "`seed` of the order that is planted into a copy of the anchor; 0 fuses OTHERs")
	f.IntVar(&o.samples, "samples", 200, "`samples` of -calib that are aligned on, the first")
	f.IntVar(&o.updates, "updates", 250, "`updates` of learned matching and of distillation, on these samples")
	f.IntVar(&o.batch, "batch", 32, "`samples` of an update")
	methods := f.String("methods", "vanilla,flow,match,learned,distil", "`methods` of recipes to try, comma-separated")
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	o.parents, o.methods = f.Args(), strings.Split(*methods, ",")
	if *eval != "" {
		o.eval = strings.Split(*eval, ",")
	}
	switch planted := o.planted != 0; {
	case o.calib == "":
		return o, errors.New("checkpoints: -calib FILE is required")
	case planted && len(o.parents) != 1:
		return o, fmt.Errorf("checkpoints: got %d checkpoints, want ANCHOR alone with -planted", len(o.parents))
	case !planted && len(o.parents) < 2:
		return o, fmt.Errorf("checkpoints: got %d checkpoints, want ANCHOR and at least one OTHER", len(o.parents))
	case !planted && o.eval == nil:
		return o, errors.New("checkpoints: -eval FILE is required")
	}
	return o, nil
}

func run(ctx context.Context, o options, w io.Writer) error {
	var parents []*models.Model
	for _, dir := range o.parents {
		m, err := models.Open(dir)
		if err != nil {
			return err
		}
		parents = append(parents, m)
	}
	return lab.WithDevice(ctx, func(ctx context.Context, d *gomlx.Device) error {
		if o.planted != 0 {
			return undo(ctx, d, o, parents[0], w)
		}
		return compare(ctx, d, o, parents, w)
	})
}
