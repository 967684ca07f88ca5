// Command vit-cifar fuses vision transformers that were trained from different
// seeds and shows what comes out: before any training, and after a short
// finetuning beside that of the parents.
//
//	go run ./examples/vit-cifar
//
// needs no flag, no data and no GPU: it uses CIFAR-10 where it is on this
// machine or can be downloaded, and a set that it draws by itself otherwise,
// with a pair of small parents that it brings along.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
)

type options struct {
	data     string
	dir      string
	parents  string
	out      string
	report   string
	seed     uint64
	epochs   float64
	lr       float64
	samples  int
	method   string
	aligner  string
	solver   string
	reg      float64
	residual string
	tokens   string
	images   int
	learn    int

	train                      bool
	width, depth, heads, patch int
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
	f.IntVar(&o.samples, "samples", 200, "calibration `images`, from the training set")
	f.StringVar(&o.method, "method", "all", "how to `fuse`: flow (transport of the paper), match (exact symmetries), learned (matching refined by gradient) or all, side by side")
	f.StringVar(&o.aligner, "aligner", "units", "what is `aligned`: units, across heads, or heads first and then the units within; heads go with -solver emd, sinkhorn or both")
	f.StringVar(&o.solver, "solver", "both", "transport `solver`: emd, sinkhorn, widening or both (emd and sinkhorn)")
	f.Float64Var(&o.reg, "reg", 0, "regularisation of Sinkhorn, in units of the largest cost (default 0.08 on activations, 0.06 on weights)")
	f.StringVar(&o.residual, "residual", "average", "residual `policy`: main, skip, identity, average, weighted-scalar or weighted-matrix")
	f.StringVar(&o.tokens, "tokens", "", "`tokens` that are aligned on: all, cls, window:K or mean (default window:6; all for matching)")
	f.IntVar(&o.learn, "learn", 250, "`updates` of learned matching")
	f.IntVar(&o.images, "images", 0, "test `images` to score on (default all)")
	f.BoolVar(&o.train, "train", false, "train one parent from scratch and save it to -out")
	f.IntVar(&o.width, "width", 128, "with -train: hidden `units`; the MLP is four times as wide")
	f.IntVar(&o.depth, "depth", 4, "with -train: `layers`")
	f.IntVar(&o.heads, "heads", 4, "with -train: attention `heads`")
	f.IntVar(&o.patch, "patch", 8, "with -train: `pixels` along a patch")
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
	case o.samples < 1:
		return fmt.Errorf("vit-cifar: -samples is %d, want at least 1", o.samples)
	case o.reg < 0:
		return fmt.Errorf("vit-cifar: -reg is %g, want more than 0", o.reg)
	case o.learn < 1:
		return fmt.Errorf("vit-cifar: -learn is %d, want at least 1", o.learn)
	case o.images < 0:
		return fmt.Errorf("vit-cifar: -images is %d, want at least 1", o.images)
	case o.out == "":
		return errors.New("vit-cifar: -out is empty")
	}
	if !slices.Contains([]string{"all", "flow", "match", "learned"}, o.method) {
		return fmt.Errorf("vit-cifar: -method is %q, allowed are all, flow, match, learned", o.method)
	}
	_, err := o.fusions()
	return err
}

// dirs returns the directories of -parents.
func (o options) dirs() []string {
	var out []string
	for _, d := range strings.Split(o.parents, ",") {
		if d = strings.TrimSpace(d); d != "" {
			out = append(out, d)
		}
	}
	return out
}
