package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
)

type options struct {
	family, data, dir, parents, out, report, prompt string

	seed        uint64
	epochs      float64
	lr          float64
	std         float64
	temperature float64
	choice      lab.Choice
	texts, say  int
	batch       int
	compress    lab.Compress // units; 0 for no narrow network

	train, half                        bool
	width, depth, heads, words, length int
}

// families returns the classes that parents are shipped of, by what -family calls them.
func families() map[string]string {
	return map[string]string{"gpt2": models.GPT2().Class, "llama": models.Llama().Class}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("gpt-wiki", flag.ContinueOnError)
	names := slices.Sorted(maps.Keys(families()))
	f.StringVar(&o.family, "family", "gpt2", "`name` of the architecture of the shipped parents, or of what is trained: "+
		strings.Join(names, ", "))
	f.StringVar(&o.data, "data", lab.Atlas, "`text`: atlas (an encyclopedia that the program writes), wikitext2, "+
		"wiki2016 or folder")
	f.StringVar(&o.dir, "dir", "", "`folder` that the text is looked for in first; for folder the one with train.txt and "+
		"valid.txt, a paragraph a line")
	f.StringVar(&o.parents, "parents", "", "checkpoint `directories` or hub ids to fuse, comma-separated, the anchor "+
		"first; default: the pair shipped for the text")
	f.StringVar(&o.out, "out", "gpt-wiki-out",
		"`directory` for the checkpoints, plots, report.html and report.json; with -train the checkpoint itself")
	f.StringVar(&o.report, "report", "", "`file` for the report (default OUT/report.json)")
	f.Uint64Var(&o.seed, "seed", 0, "`seed` of initialisation, batches and generated tokens")
	f.Float64Var(&o.epochs, "epochs", 0, "`epochs` of finetuning (default 0.1), or of training with -train (default 0.5)")
	f.Float64Var(&o.lr, "lr", 0, "peak learning `rate` (default 1e-3 for finetuning, 3e-3 with -train)")
	f.IntVar(&o.batch, "batch", 0, "`sequences` of an update of finetuning (default 32), or of training with -train "+
		"(default 8)")
	o.choice = lab.Choice{Learn: 300, Distil: 300, Batch: batchSize, Tokens: "all"}
	o.choice.Flags(f)
	f.IntVar(&o.texts, "texts", 512, "test `sequences` to score on")
	f.StringVar(&o.prompt, "prompt", "", "`text` that the models continue at the end (default: the beginning of the test "+
		"text)")
	f.IntVar(&o.say, "say", 48, "`tokens` that they say")
	f.Float64Var(&o.temperature, "temperature", 0, "softmax `temperature` of what they say; 0 takes the most likely token")
	o.compress.Flag(f)
	f.BoolVar(&o.train, "train", false, "train one parent from scratch and save it to -out")
	f.BoolVar(&o.half, "half", false, "with -train: store the weights as float16")
	f.IntVar(&o.width, "width", 64, "with -train: hidden `units`")
	f.IntVar(&o.depth, "depth", 2, "with -train: `layers`")
	f.IntVar(&o.heads, "heads", 4, "with -train: attention `heads`")
	f.Float64Var(&o.std, "std", 0.05, "with -train: standard `deviation` of the initial weights")
	f.IntVar(&o.words, "words", 512, "with -train: most `tokens` of the byte pairs that are learned; 0 for bytes alone")
	f.IntVar(&o.length, "length", 64, "with -train: `tokens` of a sequence")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: gpt-wiki [flags]\n\nFuses causal language models trained from different seeds. "+
			"Without flags: a whole run in minutes.")
		f.PrintDefaults()
	}
	if err := cli.Parse(f, args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("gpt-wiki: unexpected argument %q", f.Arg(0))
	}
	o.fill()
	return o, o.check()
}

// fill sets the defaults that depend on what is done.
func (o *options) fill() {
	epochs, lr, batch := 0.1, 1e-3, batchSize
	if o.train {
		epochs, lr, batch = 0.5, 3e-3, 8
	}
	if o.batch == 0 {
		o.batch = batch
	}
	if o.epochs == 0 {
		o.epochs = epochs
	}
	if o.lr == 0 {
		o.lr = lr
	}
}

func (o *options) check() error {
	names := slices.Sorted(maps.Keys(families()))
	switch {
	case !slices.Contains(names, o.family):
		return fmt.Errorf("gpt-wiki: -family is %q, allowed are %s", o.family, strings.Join(names, ", "))
	case o.out == "":
		return errors.New("gpt-wiki: -out is empty")
	case o.compress < 0:
		return fmt.Errorf("gpt-wiki: -compress is %d, want at least 1", o.compress)
	case o.compress > 0 && o.train:
		return errors.New("gpt-wiki: -train and -compress are two jobs, want one")
	case o.temperature < 0:
		return fmt.Errorf("gpt-wiki: -temperature is %g, want at least 0", o.temperature)
	}
	for _, x := range []struct {
		name  string
		value float64
	}{{"epochs", o.epochs}, {"std", o.std}, {"lr", o.lr}} {
		if !(x.value > 0) {
			return fmt.Errorf("gpt-wiki: -%s is %g, want more than 0", x.name, x.value)
		}
	}
	for _, n := range []struct {
		name         string
		value, least int
	}{{"texts", o.texts, 1}, {"batch", o.batch, 1}, {"say", o.say, 1}, {"words", o.words, 0}, {"length", o.length, 2}} {
		if n.value < n.least {
			return fmt.Errorf("gpt-wiki: -%s is %d, want at least %d", n.name, n.value, n.least)
		}
	}
	if _, err := o.choice.Trials(); err != nil {
		return fmt.Errorf("gpt-wiki: %w", err)
	}
	return nil
}
