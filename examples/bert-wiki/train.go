package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"
	"github.com/otfuse/otfuse/models/safetensors"
	"github.com/otfuse/otfuse/models/text"
)

// bertConfig is the network that the flags describe.
func bertConfig(o options, words int) models.Config {
	return models.Config{Architectures: []string{"BertForMaskedLM"}, ModelType: "bert",
		Hidden: o.width, Layers: o.depth, Heads: o.heads, MLP: 4 * o.width, Act: "gelu", Eps: 1e-12, InitStd: 0.02,
		Vocab: words, Positions: o.length, TypeVocab: 2, DType: "float32"}
}

// fresh draws the parameters of a parent to be trained; its directory will hold
// the tokenizer too.
func fresh(o options, tok *text.Tokenizer, files map[string][]byte) (*models.Model, error) {
	arch, config := models.BERTForMaskedLM(), bertConfig(o, tok.Size())
	g, err := arch.Graph(config)
	if err != nil {
		return nil, fmt.Errorf("bert-wiki: %w", err)
	}
	m, err := models.New(arch, config, models.Init(g, o.seed, config.InitStd))
	if err == nil {
		m.Files = files
	}
	return m, err
}

// vocabulary returns the tokenizer of a parent to be trained, and its files.
func vocabulary(o options, c corpus) (*text.Tokenizer, map[string][]byte, error) {
	tok, path, err := given(o)
	if err != nil {
		return nil, nil, err
	}
	if tok == nil {
		return learned(c, o.words)
	}
	raw, err := os.ReadFile(path)
	name := vocabularyName
	if filepath.Ext(path) == ".json" {
		name = tokenizerName
	}
	return tok, map[string][]byte{name: raw}, err
}

// trainParent is the -train mode: one parent from scratch into -out.
func trainParent(ctx context.Context, o options) error {
	if err := cli.Replaceable(o.out); err != nil {
		return fmt.Errorf("bert-wiki: -out: %w", err)
	}
	c, err := openCorpus(ctx, o)
	if err != nil {
		return err
	}
	tok, files, err := vocabulary(o, c)
	if err != nil {
		return err
	}
	m, err := fresh(o, tok, files)
	if err != nil {
		return err
	}
	t, err := cut(tok, c, o.length, o.texts)
	if err != nil {
		return err
	}
	backend, err := mlx.Open(ctx, func(line string) { cli.Notice("%s", line) })
	if err != nil {
		return err
	}
	defer backend.Finalize()
	runner := mlx.NewRunner(backend)
	defer runner.Close()
	feed := t.feeder(t.train, o.seed)
	steps := max(int(o.epochs*float64(feed.PerEpoch())), 1)
	r := training.Run{Feed: feed.batch, Steps: steps, Save: o.out + ".training.safetensors", Every: max(steps/10, 1)}
	r.Trainer, err = mlx.NewTrainer(backend, m, mlx.Recipe{Steps: steps, LR: o.lr, MinLR: o.lr / 100,
		Warmup: steps / 20, WeightDecay: 0.01, Clip: 1})
	if err != nil {
		return err
	}
	defer r.Trainer.Close()
	judge := t.masked(t.test, len(t.test), testMask)
	r.Look = func(step int, m *models.Model) error {
		s, err := runner.Evaluate(ctx, judge, scoreBatch, m)
		if err == nil {
			cli.Notice("epoch %.1f: test loss %.3f (perplexity %.1f), %.2f %% of masked word pieces found",
				float64(step)/float64(feed.PerEpoch()), s.Loss, math.Exp(s.Loss), 100*s.Accuracy)
		}
		return err
	}
	cli.Notice("training on %s, %d word pieces, %d sequences of %d, seed %d, %g epochs; Ctrl-C stops, the same command goes on",
		t.label, tok.Size(), len(t.train), o.length, o.seed, o.epochs)
	if o.half {
		return r.Into(ctx, o.out, halved)
	}
	return r.Into(ctx, o.out, nil)
}

// halved is m with its weights to be stored as float16.
func halved(m *models.Model) *models.Model {
	p := models.Params{}
	for name, t := range m.Params {
		t.DType = safetensors.F16
		p[name] = t
	}
	h := m.With(p)
	h.Config.DType = "float16"
	return h
}
