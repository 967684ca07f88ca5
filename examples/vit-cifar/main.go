// Command vit-cifar fuses vision transformers that were trained from different
// seeds and shows what comes out: before any training, and after a short
// finetuning beside that of the parents.
//
//	go run ./examples/vit-cifar
//
// needs no flag, no data and no GPU: it uses CIFAR-10 where it is on this
// machine or can be downloaded, and a set that it draws by itself otherwise,
// with a pair of small parents that it brings along. Other sets need parents of
// their own, two or more:
//
//	go run ./examples/vit-cifar -train -data tinyimagenet -seed 0 -out a
//	go run ./examples/vit-cifar -train -data tinyimagenet -seed 1 -out b
//	go run ./examples/vit-cifar -train -data tinyimagenet -seed 2 -out c
//	go run ./examples/vit-cifar -data tinyimagenet -parents a,b,c
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/story"
)

type options struct {
	data    string
	dir     string
	parents string
	out     string
	report  string
	seed    uint64
	epochs  float64
	lr      float64
	choice  story.Choice
	images  int

	train                      bool
	width, depth, heads, patch int
	side                       int // pixels; 0 means 64 where the set leaves the choice
}

func main() {
	cli.Main(func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		switch {
		case err != nil:
			return err
		case o.train:
			return trainParent(ctx, o)
		}
		return tell(ctx, o)
	})
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("vit-cifar", flag.ContinueOnError)
	f.StringVar(&o.data, "data", "auto", "data `set`: auto, cifar10, cifar100, tinyimagenet, imagefolder or shapes")
	f.StringVar(&o.dir, "dir", "", "`folder` that the data set is looked for in first; for imagefolder the images train|test/<class>/*.jpg")
	f.StringVar(&o.parents, "parents", "", "checkpoint `directories` to fuse, comma-separated, the anchor first; default: the pair shipped for the data set")
	f.StringVar(&o.out, "out", "vit-cifar-out", "`directory` for the checkpoints, plots, report.html and report.json; with -train the checkpoint itself")
	f.StringVar(&o.report, "report", "", "`file` for the report (default OUT/report.json)")
	f.Uint64Var(&o.seed, "seed", 0, "`seed` of initialisation, batches and augmentation")
	f.Float64Var(&o.epochs, "epochs", 0, "`epochs` of finetuning (default 0.5), or of training with -train (default 24)")
	f.Float64Var(&o.lr, "lr", 0, "peak learning `rate` (default 3e-4 for finetuning, 1e-3 with -train)")
	o.choice = story.Choice{Learn: 500, Batch: 64}
	o.choice.Flags(f)
	f.StringVar(&o.choice.Tokens, "tokens", "", "`tokens` that are aligned on: all, cls, window:K or mean (default window:6; all for matching)")
	f.IntVar(&o.images, "images", 0, "test `images` to score on (default all)")
	f.BoolVar(&o.train, "train", false, "train one parent from scratch and save it to -out")
	f.IntVar(&o.width, "width", 128, "with -train: hidden `units`; the MLP is four times as wide")
	f.IntVar(&o.depth, "depth", 4, "with -train: `layers`")
	f.IntVar(&o.heads, "heads", 4, "with -train: attention `heads`")
	f.IntVar(&o.patch, "patch", 8, "with -train: `pixels` along a patch")
	f.IntVar(&o.side, "side", 0, "with -train: `pixels` along an image of tinyimagenet and imagefolder (default 64); otherwise the parents say")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: vit-cifar [flags]\n\nFuses vision transformers trained from different seeds. Without flags: a whole run in minutes.")
		f.PrintDefaults()
	}
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("vit-cifar: unexpected argument %q", f.Arg(0))
	}
	return o, o.check()
}

func (o *options) check() error {
	if o.epochs == 0 {
		o.epochs = 0.5
		if o.train {
			o.epochs = 24
		}
	}
	if o.lr == 0 {
		o.lr = 3e-4
		if o.train {
			o.lr = 1e-3
		}
	}
	switch {
	case o.epochs < 0:
		return fmt.Errorf("vit-cifar: -epochs is %g, want more than 0", o.epochs)
	case !(o.lr > 0):
		return fmt.Errorf("vit-cifar: -lr is %g, want more than 0", o.lr)
	case o.images < 0:
		return fmt.Errorf("vit-cifar: -images is %d, want at least 1", o.images)
	case o.side < 0:
		return fmt.Errorf("vit-cifar: -side is %d, want at least 1", o.side)
	case o.out == "":
		return errors.New("vit-cifar: -out is empty")
	}
	if _, err := o.choice.Fusions(); err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	return nil
}
