package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/language"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/safetensors"
	"github.com/otfuse/otfuse/models/text"
)

// vocabulary returns the tokenizer of a parent to be trained, and its files.
func vocabulary(o options, c language.Corpus) (*text.Tokenizer, map[string][]byte, error) {
	tok, path, err := given(o)
	if err != nil {
		return nil, nil, err
	}
	if tok == nil {
		return c.Learned(o.words)
	}
	raw, err := os.ReadFile(path)
	name := language.VocabularyFile
	if filepath.Ext(path) == ".json" {
		name = language.TokenizerFile
	}
	return tok, map[string][]byte{name: raw}, err
}

// batchSize is the number of sequences in an update.
const batchSize = 32

// parent is the training that the flags describe.
func (o options) parent(ctx context.Context) (p language.Parent, err error) {
	c, err := language.Open(ctx, o.data, o.dir)
	if err != nil {
		return p, err
	}
	tok, files, err := vocabulary(o, c)
	if err != nil {
		return p, err
	}
	p = language.Parent{Files: files, Out: o.out,
		Net:      language.Net{Width: o.width, Depth: o.depth, Heads: o.heads, Length: o.length, Seed: o.seed, Std: o.std},
		Schedule: training.Schedule{Epochs: o.epochs, Warmup: o.epochs / 20, Batch: batchSize, LR: o.lr, MinLR: o.lr / 100, WeightDecay: 0.01, Clip: 1}}
	if o.half {
		p.Finish = halved
	}
	p.Texts, err = c.Cut(tok, o.length, o.texts)
	return p, err
}

// trainParent is the -train mode: one parent from scratch into -out.
func trainParent(ctx context.Context, o options) error {
	if err := cli.Replaceable(o.out); err != nil {
		return fmt.Errorf("bert-wiki: -out: %w", err)
	}
	p, err := o.parent(ctx)
	if err != nil {
		return fmt.Errorf("bert-wiki: %w", err)
	}
	if err := training.Raise(ctx, p); err != nil {
		return fmt.Errorf("bert-wiki: %w", err)
	}
	return nil
}

// halved is m with its weights to be stored as float16.
func halved(m *models.Model) *models.Model {
	p := models.Params{}
	for name, t := range m.Params {
		t.DType = safetensors.F16
		p[name] = t
	}
	h := m.With(p)
	if c, ok := m.Config.(models.BERTConfig); ok {
		c.DType = "float16"
		h.Config = c
	}
	return h
}
