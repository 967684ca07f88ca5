// Command gpt-wiki fuses causal language models that were trained from different
// seeds, and shows what comes out: how well they find the next token, before any
// training and after a short finetuning beside that of the parents, and what they say.
//
//	go run ./examples/gpt-wiki
//
// needs no flag, no data and no GPU: it fuses a pair of small parents that it brings
// along, which know an encyclopedia that the program writes by itself. Others, also on
// WikiText-2, are trained by
//
//	go run ./examples/gpt-wiki -train -data wikitext2 -seed 0 -out a
//	go run ./examples/gpt-wiki -train -data wikitext2 -seed 1 -out b
//	go run ./examples/gpt-wiki -data wikitext2 -parents a,b
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// The number of sequences in an update of maps and, unless another is asked for, of
// finetuning, and of test sequences for the points of a curve.
const (
	batchSize = 32
	quickTest = 128
)

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
	if err := lab.CheckOutputs(o.out, o.parents, "fused", "finetuned"); err != nil {
		return fmt.Errorf("gpt-wiki: -out: %w", err)
	}
	text, parents, err := o.open(ctx)
	if err != nil {
		return fmt.Errorf("gpt-wiki: %w", err)
	}
	tied := func(n *graph.Node) bool { return n.Op == graph.Unembed }
	o.choice.Untied = slices.ContainsFunc(parents[0].Graph.Nodes, tied)
	c := lab.Comparison{Task: text, Parents: parents, Choice: o.choice, Seed: o.seed, Quick: quickTest,
		Title: fmt.Sprintf("Fusing %d causal language models", len(parents)), Out: o.out, File: o.report}
	experiment, saved, err := o.experiment(c, text)
	if err != nil {
		return fmt.Errorf("gpt-wiki: %w", err)
	}
	said := speakers{parents: parents, labels: slices.Sorted(maps.Keys(saved))}
	save := c.Saver(saved)
	cli.Notice("data: %s, %d test sequences; anchor and %d other model(s) of %d parameters",
		text.Label, text.Tests(), len(parents)-1, parents[0].Size())
	return lab.WithDevice(ctx, func(ctx context.Context, d *gomlx.Device) error {
		found, err := lab.Run(ctx, d, experiment, func(row *lab.Outcome) error {
			perplexity := math.Exp(*row.Row.Loss)
			row.Row.Perplexity = &perplexity
			said.keep(row)
			return save(row)
		})
		err = errors.Join(err, c.Publish(experiment, found)) // whatever stops it, what was found is reported
		if err != nil {
			return err
		}
		return said.speak(ctx, d, text, o)
	})
}

// experiment is that of fusing the parents, or of narrow networks made of them; and the
// directories of the models that are saved.
func (o options) experiment(c lab.Comparison, text *lab.Text) (lab.Experiment, map[string]string, error) {
	finetune := o.finetuning(text)
	if o.compress > 0 {
		return c.Compression(o.compress, finetune)
	}
	e, err := c.Experiment()
	if err != nil {
		return e, nil, err
	}
	finetune.Of = c.Starts(e)
	e.Tune = []lab.Tuning{finetune}
	return e, map[string]string{e.Main(): "fused", e.Main() + finetune.Suffix: "finetuned"}, nil
}

// speakers are the models whose words are shown at the end.
type speakers struct {
	parents []*models.Model
	labels  []string // of the rows of the fused models
	fused   []*models.Model
}

// keep keeps the model of a row that is to speak.
func (s *speakers) keep(row *lab.Outcome) {
	for _, label := range s.labels {
		if label == row.Row.Label {
			s.fused = append(s.fused, row.Models[0])
		}
	}
}

// speak prints how the models continue a prompt.
func (s *speakers) speak(ctx context.Context, d *gomlx.Device, text *lab.Text, o options) error {
	prompt := o.prompt
	if prompt == "" {
		prompt = text.Prompt()
	}
	fmt.Printf("\n%q is continued\n", prompt)
	for k, m := range append(append([]*models.Model{}, s.parents...), s.fused...) {
		name := fmt.Sprint("parent ", k)
		if k >= len(s.parents) {
			name = s.labels[k-len(s.parents)]
		}
		said, err := text.Continue(ctx, d, m, prompt,
			gomlx.Generation{Tokens: o.say, Temperature: o.temperature, Seed: o.seed})
		if err != nil {
			return fmt.Errorf("gpt-wiki: %w", err)
		}
		fmt.Printf("  by %s: %q\n", name, said)
	}
	return nil
}

// open opens the text and the parents, and brings them together.
func (o options) open(ctx context.Context) (*lab.Text, []*models.Model, error) {
	corpus, err := lab.OpenCorpus(ctx, o.data, o.dir)
	if err != nil {
		return nil, nil, err
	}
	parents, err := o.compress.OpenParents(ctx, o.parents)
	if err == nil && parents == nil {
		parents, err = lab.ShippedParents(o.family + "-" + corpus.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	text := &lab.Text{Corpus: corpus, Most: o.texts}
	if err = text.Accept(parents); err == nil {
		err = lab.CheckParents(parents)
	}
	if err == nil && !parents[0].PredictsNext() {
		err = fmt.Errorf("parent 0 is a %s, want a causal language model", parents[0].Arch.Class)
	}
	return text, parents, err
}

// finetuning is the budget that all models get.
func (o options) finetuning(text *lab.Text) lab.Tuning {
	batches := lab.TuneBatches(text, o.batch, o.seed)
	steps := max(int(o.epochs*float64(batches.PerEpoch)), 1)
	return lab.Tuning{Suffix: lab.SuffixFinetuned, Batches: batches.At, Size: o.batch, Points: lab.TuningPoints,
		Config: gomlx.TrainConfig{Steps: steps, LR: o.lr, Warmup: steps / 10, WeightDecay: 0.01, Clip: 1}}
}

// trainParent is the -train mode: one parent from scratch into -out.
func trainParent(ctx context.Context, o options) error {
	if err := cli.Replaceable(o.out); err != nil {
		return fmt.Errorf("gpt-wiki: -out: %w", err)
	}
	parent, err := o.parent(ctx)
	if err == nil {
		err = lab.WithDevice(ctx, parent.Train)
	}
	if err != nil {
		return fmt.Errorf("gpt-wiki: %w", err)
	}
	return nil
}

// parent is the training that the flags describe.
func (o options) parent(ctx context.Context) (*lab.Scratch, error) {
	corpus, err := lab.OpenCorpus(ctx, o.data, o.dir)
	if err != nil {
		return nil, err
	}
	p, err := lab.NewScratch(&lab.Text{Corpus: corpus, Most: o.texts},
		lab.Net{Class: families()[o.family], Width: o.width, Depth: o.depth, Heads: o.heads, Words: o.words,
			Length: o.length, Seed: o.seed, Std: o.std},
		lab.Schedule{Epochs: o.epochs, Warmup: o.epochs / 20, Batch: o.batch, LR: o.lr, MinLR: o.lr / 100,
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
