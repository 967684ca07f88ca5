// Command bert-wiki fuses BERTs that were trained from different seeds to find
// masked words of Wikipedia, and shows what comes out: before any training, and
// after a short finetuning beside that of the parents.
//
//	go run ./examples/bert-wiki
//
// needs no flag, no data and no GPU: it fuses a pair of small parents that it
// brings along. They know WikiText-2, which is used where it is on this machine
// or can be downloaded; another pair knows an encyclopedia that the program
// writes by itself where it cannot, or with -data atlas. Others are trained by
//
//	go run ./examples/bert-wiki -train -seed 0 -out a
//	go run ./examples/bert-wiki -train -seed 1 -out b
//	go run ./examples/bert-wiki -parents a,b
//
// -glue finetunes what comes out to classify sentences instead.
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
	vocab   string
	glue    string
	seed    uint64
	epochs  float64
	lr      float64
	std     float64
	choice  story.Choice
	texts   int

	train, half                        bool
	width, depth, heads, words, length int
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
	f := flag.NewFlagSet("bert-wiki", flag.ContinueOnError)
	f.StringVar(&o.data, "data", "auto", "`text`: auto (wikitext2 where it can be had, else atlas), wikitext2, wiki2016, atlas (an encyclopedia that the program writes) or folder")
	f.StringVar(&o.dir, "dir", "", "`folder` that the text is looked for in first; for folder the one with train.txt and valid.txt, a paragraph a line")
	f.StringVar(&o.parents, "parents", "", "checkpoint `directories` to fuse, comma-separated, the anchor first; default: the pair shipped for the text")
	f.StringVar(&o.vocab, "vocab", "", "vocab.txt or tokenizer.json, a `file` of word pieces; default: that of -dir or of the parents; with -train one learned from the text")
	f.StringVar(&o.out, "out", "bert-wiki-out", "`directory` for the checkpoints, plots, report.html and report.json; with -train the checkpoint itself")
	f.StringVar(&o.report, "report", "", "`file` for the report (default OUT/report.json)")
	f.StringVar(&o.glue, "glue", "", "`folder` with train.tsv and dev.tsv, sentence<TAB>label under a header as in SST-2 of GLUE: finetune to classify")
	f.Uint64Var(&o.seed, "seed", 0, "`seed` of initialisation, batches and masks")
	f.Float64Var(&o.epochs, "epochs", 0, "`epochs` of finetuning (default 0.25, with -glue 3), or of training with -train (default 6)")
	f.Float64Var(&o.lr, "lr", 0, "peak learning `rate` (default 3e-4 for finetuning, 1e-3 with -train)")
	o.choice = story.Choice{Learn: 400, Batch: batchSize, Tokens: "all"}
	o.choice.Flags(f)
	f.IntVar(&o.texts, "texts", 0, "test `sequences` to score on (default 512)")
	f.BoolVar(&o.train, "train", false, "train one parent from scratch and save it to -out")
	f.BoolVar(&o.half, "half", false, "with -train: store the weights as float16")
	f.IntVar(&o.width, "width", 128, "with -train: hidden `units`; the MLP is four times as wide")
	f.IntVar(&o.depth, "depth", 2, "with -train: `layers`")
	f.IntVar(&o.heads, "heads", 4, "with -train: attention `heads`")
	f.Float64Var(&o.std, "std", 0.02, "with -train: standard `deviation` of the initial weights; narrow networks start faster from more")
	f.IntVar(&o.words, "words", 2000, "with -train: most word `pieces` of a vocabulary that is learned")
	f.IntVar(&o.length, "length", 64, "with -train: word `pieces` of a sequence")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: bert-wiki [flags]\n\nFuses BERTs trained from different seeds. Without flags: a whole run in minutes.")
		f.PrintDefaults()
	}
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("bert-wiki: unexpected argument %q", f.Arg(0))
	}
	o.fill()
	return o, o.check()
}

// fill sets the defaults that depend on what is done.
func (o *options) fill() {
	epochs, lr := 0.25, 3e-4
	switch {
	case o.train:
		epochs, lr = 6, 1e-3
	case o.glue != "":
		epochs = 3
	}
	if o.epochs == 0 {
		o.epochs = epochs
	}
	if o.lr == 0 {
		o.lr = lr
	}
	if o.texts == 0 {
		o.texts = 512
	}
}

func (o *options) check() error {
	switch {
	case !(o.epochs > 0):
		return fmt.Errorf("bert-wiki: -epochs is %g, want more than 0", o.epochs)
	case !(o.std > 0):
		return fmt.Errorf("bert-wiki: -std is %g, want more than 0", o.std)
	case !(o.lr > 0):
		return fmt.Errorf("bert-wiki: -lr is %g, want more than 0", o.lr)
	case o.out == "":
		return errors.New("bert-wiki: -out is empty")
	case o.train && o.glue != "":
		return errors.New("bert-wiki: -train and -glue are two jobs, want one")
	}
	for _, n := range []struct {
		name         string
		value, least int
	}{{"texts", o.texts, 1}, {"words", o.words, 6}, {"length", o.length, 3}} {
		if n.value < n.least {
			return fmt.Errorf("bert-wiki: -%s is %d, want at least %d", n.name, n.value, n.least)
		}
	}
	if _, err := o.choice.Fusions(); err != nil {
		return fmt.Errorf("bert-wiki: %w", err)
	}
	return nil
}
