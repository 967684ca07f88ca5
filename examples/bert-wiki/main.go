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
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// The number of sequences in an update, and of test sequences for the points of a
// curve and for the pseudo-perplexity.
const (
	batchSize  = 32
	quickTest  = 128
	pseudoTest = 16
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
	choice  lab.Choice
	texts   int

	compress lab.Compress // units; 0 for no narrow network

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
		return compare(ctx, o)
	})
}

// compare fuses parents in every way that was asked for, finetunes on equal budgets
// and shows what comes out.
func compare(ctx context.Context, o options) error {
	if err := lab.CheckOutputs(o.out, o.parents, "fused", "finetuned", "classifier"); err != nil {
		return fmt.Errorf("bert-wiki: -out: %w", err)
	}
	text, parents, err := o.open(ctx)
	if err != nil {
		return fmt.Errorf("bert-wiki: %w", err)
	}
	c := lab.Comparison{Task: text, Parents: parents, Choice: o.choice, Seed: o.seed, Quick: quickTest,
		Title: fmt.Sprintf("Fusing %d BERTs", len(parents)), Out: o.out, File: o.report}
	experiment, saved, err := o.experiment(c, text)
	if err != nil {
		return fmt.Errorf("bert-wiki: %w", err)
	}
	save := c.Saver(saved)
	cli.Notice("data: %s, %d test sequences; anchor and %d other model(s) of %d parameters",
		text.Label, text.Tests(), len(parents)-1, parents[0].Size())
	return lab.WithDevice(ctx, func(ctx context.Context, d *gomlx.Device) error {
		found, err := lab.Run(ctx, d, experiment, func(row *lab.Outcome) error {
			return errors.Join(addPseudoPerplexity(ctx, d, text, row), save(row))
		})
		return errors.Join(err, c.Publish(experiment, found)) // whatever stops it, what was found is reported
	})
}

// experiment is that of fusing the parents, or of narrow networks made of them; and the
// directories of the models that are saved.
func (o options) experiment(c lab.Comparison, text *lab.Text) (lab.Experiment, map[string]string, error) {
	if o.compress > 0 {
		return c.Compression(o.compress, o.finetuning(text))
	}
	e, err := c.Experiment()
	if err != nil {
		return e, nil, err
	}
	finetune, name := o.finetuning(text), "finetuned"
	if o.glue != "" {
		if finetune, err = o.classifying(text); err != nil {
			return e, nil, fmt.Errorf("-glue: %w", err)
		}
		name = "classifier"
	}
	finetune.Of = c.Starts(e)
	e.Tune = []lab.Tuning{finetune}
	return e, map[string]string{e.Main(): "fused", e.Main() + finetune.Suffix: name}, nil
}

// addPseudoPerplexity completes a row of models that find masked words.
func addPseudoPerplexity(ctx context.Context, d *gomlx.Device, t *lab.Text, row *lab.Outcome) error {
	if row.Models[0].Arch.Class != models.BERTForMaskedLM().Class {
		return nil
	}
	p, err := t.PseudoPerplexity(ctx, d, pseudoTest, row.Models...)
	row.Row.Pseudo = &p
	return err
}

// open opens the text and the parents, and brings them together.
func (o options) open(ctx context.Context) (*lab.Text, []*models.Model, error) {
	corpus, err := o.corpus(ctx)
	if err != nil {
		return nil, nil, err
	}
	parents, err := o.compress.OpenParents(ctx, o.parents)
	if err == nil && parents == nil {
		parents, err = lab.ShippedParents(corpus.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	vocabulary, err := lab.OpenVocabulary(ctx, o.vocab, o.dir)
	if err != nil {
		return nil, nil, err
	}
	text := &lab.Text{Corpus: corpus, Given: vocabulary, Most: o.texts}
	if err = text.Accept(parents); err == nil {
		err = lab.CheckParents(parents)
	}
	return text, parents, err
}

// corpus opens the text: "auto" is one that parents can be shipped for where none
// are given.
func (o options) corpus(ctx context.Context) (lab.Corpus, error) {
	if o.data == "auto" && o.parents == "" && !o.train {
		return lab.FirstCorpus(ctx, o.dir, "wikitext2")
	}
	return lab.OpenCorpus(ctx, o.data, o.dir)
}

// finetuning is the budget that all models get to find masked words.
func (o options) finetuning(text *lab.Text) lab.Tuning {
	t := o.budget(lab.TuneBatches(text, batchSize, o.seed))
	t.Points = lab.TuningPoints
	return t
}

// classifying is the budget that all models get to classify sentences.
func (o options) classifying(text *lab.Text) (lab.Tuning, error) {
	sentences, err := lab.OpenSentences(o.glue, text)
	if err != nil {
		return lab.Tuning{}, err
	}
	t := o.budget(sentences.Batches(batchSize, o.seed))
	t.Suffix += " on " + sentences.Name
	t.Prepare, t.Score = sentences.Classifier(o.seed), sentences.Score
	return t, nil
}

func (o options) budget(batches lab.Batches) lab.Tuning {
	steps := max(int(o.epochs*float64(batches.PerEpoch)), 1)
	return lab.Tuning{Suffix: lab.SuffixFinetuned, Batches: batches.At, Size: batchSize,
		Config: gomlx.TrainConfig{Steps: steps, LR: o.lr, Warmup: steps / 10, WeightDecay: 0.01, Clip: 1}}
}

// trainParent is the -train mode: one parent from scratch into -out.
func trainParent(ctx context.Context, o options) error {
	if err := cli.Replaceable(o.out, o.vocab); err != nil {
		return fmt.Errorf("bert-wiki: -out: %w", err)
	}
	parent, err := o.parent(ctx)
	if err == nil {
		err = lab.WithDevice(ctx, parent.Train)
	}
	if err != nil {
		return fmt.Errorf("bert-wiki: %w", err)
	}
	return nil
}

// parent is the training that the flags describe.
func (o options) parent(ctx context.Context) (*lab.Scratch, error) {
	corpus, err := o.corpus(ctx)
	if err != nil {
		return nil, err
	}
	vocabulary, err := lab.OpenVocabulary(ctx, o.vocab, o.dir)
	if err != nil {
		return nil, err
	}
	p, err := lab.NewScratch(&lab.Text{Corpus: corpus, Given: vocabulary, Most: o.texts},
		lab.Net{Width: o.width, Depth: o.depth, Heads: o.heads, Words: o.words, Length: o.length, Seed: o.seed, Std: o.std},
		lab.Schedule{Epochs: o.epochs, Warmup: o.epochs / 20, Batch: batchSize, LR: o.lr, MinLR: o.lr / 100,
			WeightDecay: 0.01, Clip: 1})
	if err != nil {
		return nil, err
	}
	p.Out = o.out
	if o.half {
		p.Finish = lab.Halved
	}
	return p, nil
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bert-wiki", flag.ContinueOnError)
	f.StringVar(&o.data, "data", "auto", "`text`: auto (wikitext2 where it can be had, else atlas), wikitext2, wiki2016, "+
		"atlas (an encyclopedia that the program writes) or folder")
	f.StringVar(&o.dir, "dir", "", "`folder` that the text is looked for in first; for folder the one with train.txt and "+
		"valid.txt, a paragraph a line")
	f.StringVar(&o.parents, "parents", "", "`checkpoints` to fuse, directories or ids of the hub, comma-separated, the "+
		"anchor first; default: the pair shipped for the text")
	f.StringVar(&o.vocab, "vocab", "", "vocab.txt or tokenizer.json, a `file` of word pieces, or the directory or hub "+
		"id of a checkpoint; default: that of -dir or of the parents; with -train one learned from the text")
	f.StringVar(&o.out, "out", "bert-wiki-out",
		"`directory` for the checkpoints, plots, report.html and report.json; with -train the checkpoint itself")
	f.StringVar(&o.report, "report", "", "`file` for the report (default OUT/report.json)")
	f.StringVar(&o.glue, "glue", "", "`folder` with train.tsv and dev.tsv, sentence<TAB>label under a header as in SST-2 "+
		"of GLUE: finetune to classify")
	f.Uint64Var(&o.seed, "seed", 0, "`seed` of initialisation, batches and masks")
	f.Float64Var(&o.epochs, "epochs", 0, "`epochs` of finetuning (default 0.25, with -glue 3), or of training with "+
		"-train (default 6)")
	f.Float64Var(&o.lr, "lr", 0, "peak learning `rate` (default 3e-4 for finetuning, 1e-3 with -train and -compress)")
	o.choice = lab.Choice{Learn: 400, Distil: 300, Batch: batchSize, Tokens: "all"}
	o.choice.Flags(f)
	f.IntVar(&o.texts, "texts", 0, "test `sequences` to score on (default 512)")
	o.compress.Flag(f)
	f.BoolVar(&o.train, "train", false, "train one parent from scratch and save it to -out")
	f.BoolVar(&o.half, "half", false, "with -train: store the weights as float16")
	f.IntVar(&o.width, "width", 128, "with -train: hidden `units`; the MLP is four times as wide")
	f.IntVar(&o.depth, "depth", 2, "with -train: `layers`")
	f.IntVar(&o.heads, "heads", 4, "with -train: attention `heads`")
	f.Float64Var(&o.std, "std", 0.02, "with -train: standard `deviation` of the initial weights; narrow networks start "+
		"faster from more")
	f.IntVar(&o.words, "words", 2000, "with -train: most word `pieces` of a vocabulary that is learned")
	f.IntVar(&o.length, "length", 64, "with -train: word `pieces` of a sequence")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: bert-wiki [flags]\n\nFuses BERTs trained from different seeds. Without flags: a "+
			"whole run in minutes.")
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
	case o.compress > 0:
		lr = lab.NarrowRate
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
	case o.compress < 0:
		return fmt.Errorf("bert-wiki: -compress is %d, want at least 1", o.compress)
	case o.compress > 0 && (o.train || o.glue != ""):
		return errors.New("bert-wiki: -compress, -train and -glue are jobs of their own, want one")
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
	if _, err := o.choice.Trials(); err != nil {
		return fmt.Errorf("bert-wiki: %w", err)
	}
	return nil
}
