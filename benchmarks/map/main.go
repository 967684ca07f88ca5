// Command map finds out when to fuse: for pairs of networks of several architectures
// and widths, whose training data are more or less alike, it compares ways to make one
// network of two with what costs as much without fusing, for several numbers of samples
// and of updates.
//
//	OTFUSE_DATA=DIR go run ./benchmarks/map -out map -train   trains the parents
//	OTFUSE_DATA=DIR go run ./benchmarks/map -out map          works on every item
//	go run ./benchmarks/map -out map -table                   prints the page
//
// An item is a point of the map for one pair. What is done is kept in a file for each, so
// that the same command goes on where it was stopped, and several machines share the
// items by -item or by the index of an array job. docs/when-to-fuse.md reads the page.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models/gomlx"
)

type options struct {
	axes   axes
	data   string // images
	text   string
	images int // test images
	texts  int // test sequences
	epochs float64
	out    string
	item   *int
	train  bool
	table  bool
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
	o := options{axes: everything()}
	f := flag.NewFlagSet("map", flag.ContinueOnError)
	o.axes.flags(f)
	f.StringVar(&o.data, "data", "cifar10", "data `set` of vit and simplevit: cifar10, cifar100, tinyimagenet or shapes")
	f.StringVar(&o.text, "text", lab.Atlas, "`text` of bert, gpt2 and llama: atlas, wikitext2 or wiki2016")
	f.IntVar(&o.images, "images", 0, "test `images` to score on (default all)")
	f.IntVar(&o.texts, "texts", 512, "test `sequences` to score on")
	f.Float64Var(&o.epochs, "epochs", 0, "`epochs` of the parents, of the whole training set (default 6, 0.5 of "+
		"decoders); a parent of a part makes as many updates")
	f.StringVar(&o.out, "out", "map-out", "`directory` of parents and results")
	o.item = cli.ItemFlag(f)
	f.BoolVar(&o.train, "train", false, "train the parents, each of which is an item")
	f.BoolVar(&o.table, "table", false, "print the page of what is there")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: map [flags]\n\nCompares ways to make one network of two. The axes are lists, "+
			"comma-separated.")
		f.PrintDefaults()
	}
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("map: unexpected argument %q", f.Arg(0))
	}
	if o.images < 0 || o.texts < 1 || o.epochs < 0 || o.out == "" {
		return o, errors.New("map: -images, -texts and -epochs must be above 0, -out a directory")
	}
	if err := o.axes.check(); err != nil {
		return o, fmt.Errorf("map: %w", err)
	}
	return o, nil
}

// work goes through the items that are this process's.
func (o options) work(ctx context.Context) error {
	cells, parents := o.axes.cells(), o.axes.parents()
	n := len(cells)
	if o.train {
		n = len(parents)
	}
	items, err := cli.Items(*o.item, n)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	if err := cli.Writable(o.out); err != nil {
		return fmt.Errorf("map: -out: %w", err)
	}
	return lab.WithDevice(ctx, func(ctx context.Context, d *gomlx.Device) error {
		b := bench{options: o, device: d}
		for _, i := range items {
			var err error
			if o.train {
				_, err = b.parent(ctx, parents[i])
			} else {
				err = b.cell(ctx, cells[i])
			}
			if err != nil {
				return fmt.Errorf("map: item %d: %w", i, err)
			}
		}
		return nil
	})
}

// exists reports whether there is a file.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// file is where the result of a cell is kept.
func (o options) file(c cell) string { return filepath.Join(o.out, "items", c.String()+".json") }
