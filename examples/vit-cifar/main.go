// Command vit-cifar fuses two vision transformers that were trained from
// different seeds, and finetunes what comes out.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/gomlx/compute"

	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/mlx"
)

type options struct {
	train  bool
	seed   uint64
	epochs int
	data   string
	out    string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.BoolVar(&o.train, "train", false, "train")
	flag.Uint64Var(&o.seed, "seed", 0, "seed")
	flag.IntVar(&o.epochs, "epochs", 25, "epochs")
	flag.StringVar(&o.data, "data", "cifar10", "data")
	flag.StringVar(&o.out, "out", "", "out")
	flag.Parse()
	if err := trainParent(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

func openBackend(ctx context.Context) (compute.Backend, error) {
	return mlx.Open(ctx, func(s string) { notice("%s", s) })
}

func openData(ctx context.Context, o options) (train, test *data.Set, label string, err error) {
	return data.Open(ctx, o.data, data.Options{})
}
