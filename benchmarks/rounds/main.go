// Command rounds compares ways for several sites to train one network together, each on
// data of its own, with as many updates each: alone, averaging now and then from a common
// start (McMahan et al., AISTATS 2017), averaging after matching from starts of their own,
// drawing together a little every few updates (Jolicoeur-Martineau et al., "PopulAtion
// Parameter Averaging", 2023), and distilling in the end.
//
//	OTFUSE_DATA=DIR go run ./benchmarks/rounds -out rounds
//	go run ./benchmarks/rounds -out rounds -table
//
// Without -skew all sites see the same data in another order. Every way is an item, whose
// result is kept in a file, so that the same command goes on where it was stopped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models/gomlx"
)

type options struct {
	data    string
	images  int // test images
	width   int
	sites   int
	skew    float64 // below 0 all sites see all data
	updates int     // of each site
	batch   int     // images of each
	rounds  int
	runs    int // with other seeds
	samples int // without labels, to distil on
	out     string
	item    *int
	table   bool
}

func main() {
	cli.Main(func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		switch {
		case err != nil:
			return err
		case o.table:
			return o.printTable(os.Stdout)
		}
		return o.work(ctx)
	})
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("rounds", flag.ContinueOnError)
	f.StringVar(&o.data, "data", "cifar10", "data `set`: cifar10, cifar100, tinyimagenet or shapes")
	f.IntVar(&o.images, "images", 0, "test `images` to score on (default all)")
	f.IntVar(&o.width, "width", 64, "hidden `units` of the vision transformers")
	f.IntVar(&o.sites, "sites", 2, "`sites` that train")
	f.Float64Var(&o.skew, "skew", -1, "`share` of the images of a class that goes to the one site that is its home, as "+
		"in vit-cifar -skew; below 0 all sites see all images")
	f.IntVar(&o.updates, "updates", 1200, "`updates` of each site")
	f.IntVar(&o.batch, "batch", 128, "`images` of an update")
	f.IntVar(&o.rounds, "rounds", 6, "`rounds`, after each of which models are averaged")
	f.IntVar(&o.runs, "runs", 1, "`runs`, each from other seeds")
	f.IntVar(&o.samples, "samples", 2000, "images without labels that all sites have, to `distil` on")
	f.StringVar(&o.out, "out", "rounds-out", "`directory` of results")
	o.item = cli.ItemFlag(f)
	f.BoolVar(&o.table, "table", false, "print the table of what is there")
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("rounds: unexpected argument %q", f.Arg(0))
	case o.width < 1 || o.sites < 2 || o.rounds < 1 || o.updates < o.rounds || o.runs < 1 || o.samples < 1 ||
		o.images < 0 || o.batch < 1:
		return o, errors.New("rounds: -width, -rounds, -runs, -batch and -samples must be at least 1, -sites 2, -updates " +
			"-rounds")
	case o.width%(heads*o.sites) != 0:
		return o, fmt.Errorf("rounds: -width %d is no multiple of %d heads times %d sites", o.width, heads, o.sites)
	case o.skew > 1:
		return o, fmt.Errorf("rounds: -skew is %g, want at most 1", o.skew)
	}
	return o, nil
}

// heads is the number of heads of every network. Those of several sites lie side by side in
// one network if its width is a multiple.
const heads = 4

// An item is one way in one run.
type item struct {
	strategy
	run int
}

// items lists them, first runs first.
func (o options) items() []item {
	var out []item
	for run := range o.runs {
		for _, s := range o.strategies() {
			out = append(out, item{s, run})
		}
	}
	return out
}

// file is where the result of an item is kept.
func (o options) file(i item) string {
	return filepath.Join(o.out, fmt.Sprintf("%s-%s-w%d-k%d-skew%g-u%dx%d-r%d-run%d.json", i.name, o.data, o.width, o.sites,
		o.skew, o.updates, o.batch, o.rounds, i.run))
}

// work goes through the items that are this process's.
func (o options) work(ctx context.Context) error {
	all := o.items()
	mine, err := cli.Items(*o.item, len(all))
	if err != nil {
		return fmt.Errorf("rounds: %w", err)
	}
	if err := cli.Writable(o.out); err != nil {
		return fmt.Errorf("rounds: -out: %w", err)
	}
	images, err := lab.OpenImages(ctx, lab.ImageSource{Set: o.data, Most: o.images})
	if err != nil {
		return err
	}
	return lab.WithDevice(ctx, func(ctx context.Context, d *gomlx.Device) error {
		for _, i := range mine {
			if err := o.item1(ctx, d, images, all[i]); err != nil {
				return fmt.Errorf("rounds: item %d, %s: %w", i, all[i].name, err)
			}
		}
		return nil
	})
}
