// Command vit-cifar fuses vision transformers that were trained from different
// seeds and shows what comes out: before any training, and after a short
// finetuning beside that of the parents.
//
//	go run ./examples/vit-cifar
//
// needs no flag, no data and no GPU: it uses CIFAR-10 where it is on this
// machine or can be downloaded, and a set that it draws by itself otherwise,
// with a pair of small parents that it brings along. It ends in a paragraph that
// says what fusion is better than, and what it is not; -all tries everything.
//
//	go run ./examples/vit-cifar -compress 64
//
// makes narrow networks of the parents. Other sets need parents of their own, two or
// more:
//
//	go run ./examples/vit-cifar -train -data tinyimagenet -seed 0 -out a
//	go run ./examples/vit-cifar -train -data tinyimagenet -seed 1 -out b
//	go run ./examples/vit-cifar -train -data tinyimagenet -seed 2 -out c
//	go run ./examples/vit-cifar -data tinyimagenet -parents a,b,c
//
// Parents may have seen different images, here 80 % of one half of the classes and 20 %
// of the other:
//
//	go run ./examples/vit-cifar -train -seed 0 -split 1/2 -skew 0.6 -out a
//	go run ./examples/vit-cifar -train -seed 1 -split 2/2 -skew 0.6 -out b
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// The sizes of batches, and the number of test images for the points of a curve.
const (
	batchSize = 128 // of training
	learnSize = 64  // of learned matching
	quickTest = 2000
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
	choice  lab.Choice
	images  int

	all      bool
	compress lab.Compress // units; 0 for no narrow network of its own

	train                      bool
	width, depth, heads, patch int
	side                       int       // pixels; 0 means 64 where the set leaves the choice
	split                      lab.Split // of the training set; the zero value for all of it
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
		return compare(ctx, o)
	})
}

// compare fuses parents in every way that was asked for, finetunes and distils on
// equal budgets, and shows what comes out.
func compare(ctx context.Context, o options) error {
	if err := lab.CheckOutputs(o.out, o.parents, "fused", "finetuned", "distilled"); err != nil {
		return fmt.Errorf("vit-cifar: -out: %w", err)
	}
	images, parents, err := o.open(ctx)
	if err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	c := lab.Comparison{Task: images, Parents: parents, Choice: o.choice, Seed: o.seed, Quick: quickTest,
		Title: fmt.Sprintf("Fusing %d vision transformers", len(parents)), Out: o.out, File: o.report}
	plan := o.fusion
	if o.compress > 0 {
		plan = o.compression
	}
	experiment, saved, err := plan(c, images)
	if err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	save := c.Saver(saved)
	cli.Notice("data: %s, %d test images; anchor and %d other model(s) of %d parameters",
		images.Label, images.Tests(), len(parents)-1, parents[0].Size())
	return lab.WithDevice(ctx, func(ctx context.Context, d *gomlx.Device) error {
		found, err := lab.Run(ctx, d, experiment, save)
		return errors.Join(err, c.Publish(experiment, found)) // whatever stops it, what was found is reported
	})
}

// fusion is the experiment of fusing parents into one of their size and, in the end,
// one of half their width; and the directories of the models that are saved.
func (o options) fusion(c lab.Comparison, images *lab.Images) (lab.Experiment, map[string]string, error) {
	experiment, err := c.Experiment()
	if err != nil {
		return experiment, nil, err
	}
	finetune := o.finetuning(images)
	finetune.Of = c.Starts(experiment)
	experiment.Tune = []lab.Tuning{finetune}
	if o.all || o.choice.Method != "all" {
		distil := finetune
		distil.Suffix, distil.Teachers = lab.SuffixDistilled, c.Parents
		distil.Of = []string{c.Main(experiment), experiment.Names.Parents[0]}
		experiment.Tune = append(experiment.Tune, distil)
	}
	main := c.Main(experiment)
	saved := map[string]string{main: "fused", main + finetune.Suffix: "finetuned"}
	return experiment, saved, o.addNarrow(&experiment, c, finetune)
}

// open opens the parents and the images that they read.
func (o options) open(ctx context.Context) (*lab.Images, []*models.Model, error) {
	parents, err := o.compress.OpenParents(ctx, o.parents)
	if err != nil {
		return nil, nil, err
	}
	if parents != nil {
		o.side = lab.ImageSide(parents[0])
	}
	images, err := o.openImages(ctx)
	if err != nil {
		return nil, nil, err
	}
	if parents == nil {
		if parents, err = lab.ShippedParents(images.Name); err != nil {
			return nil, nil, err
		}
	}
	if err = images.Accept(parents); err == nil {
		err = lab.CheckParents(parents)
	}
	return images, parents, err
}

func (o options) openImages(ctx context.Context) (*lab.Images, error) {
	return lab.OpenImages(ctx, lab.ImageSource{Set: o.data, Dir: o.dir, Side: o.side, Most: o.images})
}

// finetuning is the budget that all models get.
func (o options) finetuning(images *lab.Images) lab.Tuning {
	batches := lab.TuneBatches(images, batchSize, o.seed)
	steps := max(int(o.epochs*float64(batches.PerEpoch)), 1)
	return lab.Tuning{Suffix: lab.SuffixFinetuned, Batches: batches.At, Size: batchSize, Points: lab.TuningPoints,
		Config: gomlx.TrainConfig{Steps: steps, LR: o.lr, Warmup: steps / 10, WeightDecay: 0.05, Clip: 1}}
}

// trainParent is the -train mode: one parent from scratch into -out.
func trainParent(ctx context.Context, o options) error {
	if err := cli.Replaceable(o.out); err != nil {
		return fmt.Errorf("vit-cifar: -out: %w", err)
	}
	images, err := o.openImages(ctx)
	if err != nil {
		return err
	}
	if o.split.Parts > 0 {
		if err := images.Restrict(o.split); err != nil {
			return fmt.Errorf("vit-cifar: -split: %w", err)
		}
	}
	parent, err := o.parent(images)
	if err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	return lab.WithDevice(ctx, parent.Train)
}

// parent is the training that the flags describe.
func (o options) parent(images *lab.Images) (*lab.Scratch, error) {
	p, err := lab.NewScratch(images,
		lab.Net{Width: o.width, Depth: o.depth, Heads: o.heads, Patch: o.patch, Seed: o.seed},
		lab.Schedule{Epochs: o.epochs, Warmup: 1, Batch: min(batchSize, images.Size()), LR: o.lr, MinLR: o.lr / 100,
			WeightDecay: 0.05, Clip: 1})
	if err == nil {
		p.Out = o.out
	}
	return p, err
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("vit-cifar", flag.ContinueOnError)
	f.StringVar(&o.data, "data", "auto", "data `set`: auto, cifar10, cifar100, tinyimagenet, imagefolder or shapes")
	f.StringVar(&o.dir, "dir", "", "`folder` that the data set is looked for in first; for imagefolder the images "+
		"train|test/<class>/*.jpg")
	f.StringVar(&o.parents, "parents", "", "`checkpoints` to fuse, directories or ids of the hub, comma-separated, the "+
		"anchor first; "+
		"default: the pair shipped for the data set")
	f.StringVar(&o.out, "out", "vit-cifar-out",
		"`directory` for the checkpoints, plots, report.html and report.json; with -train the checkpoint itself")
	f.StringVar(&o.report, "report", "", "`file` for the report (default OUT/report.json)")
	f.Uint64Var(&o.seed, "seed", 0, "`seed` of initialisation, batches and augmentation")
	f.Float64Var(&o.epochs, "epochs", 0, "`epochs` of finetuning (default 0.125, 0.5 with -all or -method, 1 with "+
		"-compress), or of training with -train (default 24)")
	f.Float64Var(&o.lr, "lr", 0, "peak learning `rate` (default 3e-4 for finetuning, 1e-3 with -train and -compress)")
	o.choice = lab.Choice{Learn: 500, LearnOn: "all,labels,samples", Distil: 150, Batch: learnSize, Mixed: true}
	o.choice.Flags(f)
	f.BoolVar(&o.all, "all", false, "try every method with every setting, and finetune all of them: ten minutes more")
	o.compress.Flag(f)
	f.StringVar(&o.choice.Tokens, "tokens", "",
		"`tokens` that are aligned on: all, cls, window:K or mean (default window:6; all for matching)")
	f.IntVar(&o.images, "images", 0, "test `images` to score on (default all)")
	f.BoolVar(&o.train, "train", false, "train one parent from scratch and save it to -out")
	f.IntVar(&o.width, "width", 128, "with -train: hidden `units`; the MLP is four times as wide")
	f.IntVar(&o.depth, "depth", 4, "with -train: `layers`")
	f.IntVar(&o.heads, "heads", 4, "with -train: attention `heads`")
	f.IntVar(&o.patch, "patch", 8, "with -train: `pixels` along a patch")
	f.IntVar(&o.side, "side", 0, "with -train: `pixels` along an image of tinyimagenet and imagefolder (default 64); "+
		"otherwise the parents say")
	f.Func("split", "with -train: train on a `part` of the training set, such as 1/2 and 2/2, that has no image in "+
		"common with the others (default all)", func(text string) (err error) {
		skew := o.split.Skew
		o.split, err = lab.ParseSplit(text)
		o.split.Skew = skew
		return err
	})
	f.Float64Var(&o.split.Skew, "skew", 0, "with -split: `share` of the images of a class that goes to the one part that "+
		"is its home, 0 to 1; the others are dealt evenly. Of two parts, 0.6 gives one 80 % of half of the classes")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: vit-cifar [flags]\n\nFuses vision transformers trained from different seeds. "+
			"Without flags: a whole run in minutes.")
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

// fill sets the defaults that depend on what is done.
func (o *options) fill() {
	epochs, lr := 0.5, 3e-4
	switch {
	case o.train:
		epochs, lr = 24, 1e-3
	case o.compress > 0:
		epochs, lr = 1, lab.NarrowRate
	case !o.all && o.choice.Method == "all":
		epochs = 0.125 // the story ends within five minutes on two cores
	}
	if o.epochs == 0 {
		o.epochs = epochs
	}
	if o.lr == 0 {
		o.lr = lr
	}
	o.choice.Brief = !o.all
}

func (o *options) check() error {
	o.fill()
	switch {
	case o.compress < 0:
		return fmt.Errorf("vit-cifar: -compress is %d, want at least 1", o.compress)
	case o.compress > 0 && o.train:
		return errors.New("vit-cifar: -train and -compress are two jobs, want one")
	case o.epochs < 0:
		return fmt.Errorf("vit-cifar: -epochs is %g, want more than 0", o.epochs)
	case !(o.lr > 0):
		return fmt.Errorf("vit-cifar: -lr is %g, want more than 0", o.lr)
	case o.images < 0:
		return fmt.Errorf("vit-cifar: -images is %d, want at least 1", o.images)
	case o.side < 0:
		return fmt.Errorf("vit-cifar: -side is %d, want at least 1", o.side)
	case o.split != (lab.Split{}) && !o.train:
		return errors.New("vit-cifar: -split and -skew are for -train")
	case o.split.Skew != 0 && o.split.Parts == 0:
		return errors.New("vit-cifar: -skew needs -split")
	case !(o.split.Skew >= 0 && o.split.Skew <= 1):
		return fmt.Errorf("vit-cifar: -skew is %g, want 0 to 1", o.split.Skew)
	case o.out == "":
		return errors.New("vit-cifar: -out is empty")
	}
	if _, err := o.choice.Trials(); err != nil {
		return fmt.Errorf("vit-cifar: %w", err)
	}
	return nil
}
