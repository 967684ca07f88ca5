package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/text"
)

// corpus is the text of -data.
type corpus struct {
	text.Corpus
	name, label string
}

// The paragraphs of the encyclopedia that stands in for Wikipedia.
const (
	atlasTrain, atlasTrainSeed = 20_000, 1
	atlasTest, atlasTestSeed   = 2_000, 2
)

// openCorpus opens the text of -data. Auto is WikiText-2 where it can be had,
// else articles of 2016, else the encyclopedia.
func openCorpus(ctx context.Context, o options) (corpus, error) {
	names := []string{o.data}
	if o.data == "auto" {
		names = []string{"wikitext2", "wiki2016", own}
	}
	var why error
	for _, name := range names {
		c, err := openText(ctx, name, o.dir)
		if err == nil && name == own && o.data == "auto" {
			cli.Notice("text of Wikipedia is neither on this machine nor to be had from the network (%s); going on with an encyclopedia written here", cli.OneLine(why))
		}
		if err == nil || !errors.Is(err, data.ErrUnavailable) || ctx.Err() != nil || o.data != "auto" {
			return c, err
		}
		why = errors.Join(why, err)
	}
	return corpus{}, why
}

func openText(ctx context.Context, name, dir string) (corpus, error) {
	c := corpus{name: name}
	var err error
	where := dir
	switch name {
	case own:
		c.label = "atlas"
		c.Corpus = text.Corpus{Train: text.Atlas(atlasTrain, atlasTrainSeed), Test: text.Atlas(atlasTest, atlasTestSeed)}
		return c, ctx.Err()
	case "folder":
		if dir == "" {
			return c, errors.New("bert-wiki: -data folder needs -dir with train.txt and valid.txt")
		}
		c.label = "text of " + filepath.Base(dir)
	case "wikitext2", "wiki2016":
		c.label = map[string]string{"wikitext2": "WikiText-2", "wiki2016": "Wikipedia articles of 2016"}[name]
		var last string
		observe := func(p data.Progress) {
			if p.What != last {
				cli.Notice("%s: %s", name, p.What)
				last = p.What
			}
		}
		if where, err = data.Find(ctx, name, data.Options{Dir: dir, Observe: observe}); err != nil {
			return c, err
		}
	default:
		return c, fmt.Errorf("bert-wiki: -data is %q, allowed are auto, wikitext2, wiki2016, atlas, folder", name)
	}
	c.Corpus, err = text.Open(where)
	return c, err
}

// The files that a tokenizer comes as, the better one first.
const (
	tokenizerName  = "tokenizer.json"
	vocabularyName = "vocab.txt"
)

// texts are sequences of word pieces ready for use.
type texts struct {
	tok         *text.Tokenizer
	train, test [][]int32
	label       string
	name        string
}

// cut makes sequences of a corpus; most limits those of the test.
func cut(tok *text.Tokenizer, c corpus, length, most int) (texts, error) {
	t := texts{tok: tok, label: c.label, name: c.name}
	var err error
	if t.train, err = text.Pack(tok, c.Train, length); err != nil {
		return t, fmt.Errorf("bert-wiki: the training part of %s: %w", c.label, err)
	}
	if t.test, err = text.Pack(tok, c.Test, length); err != nil {
		return t, fmt.Errorf("bert-wiki: the test part of %s: %w", c.label, err)
	}
	t.test = t.test[:min(most, len(t.test))]
	return t, nil
}

// given opens the tokenizer of -vocab, or of the folder of -dir.
func given(o options) (tok *text.Tokenizer, path string, err error) {
	where := []string{o.vocab}
	if o.vocab == "" && o.dir != "" {
		where = []string{filepath.Join(o.dir, tokenizerName), filepath.Join(o.dir, vocabularyName)}
	}
	for _, path := range where {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && o.vocab == "" {
			continue
		}
		tok, err := text.OpenTokenizer(path)
		return tok, path, err
	}
	return nil, "", nil
}

// learned makes a tokenizer of a vocabulary learned from the training text, and
// the files that say so beside a checkpoint.
func learned(c corpus, words int) (*text.Tokenizer, map[string][]byte, error) {
	v, err := text.Learn(c.Train, words)
	if err != nil {
		return nil, nil, fmt.Errorf("bert-wiki: a vocabulary of %s: %w", c.label, err)
	}
	tok, err := text.NewTokenizer(v)
	return tok, map[string][]byte{vocabularyName: []byte(strings.Join(v, "\n") + "\n")}, err
}

// batchSize is the number of sequences in an update.
const batchSize = 32

// feeder makes the batches of a training from its step alone, so that a run
// resumes exactly: sequences in a new order in every epoch, masked anew.
type feeder struct {
	tok  *text.Tokenizer
	seqs [][]int32
	data.Order
}

func (t texts) feeder(seqs [][]int32, seed uint64) feeder {
	return feeder{t.tok, seqs, data.Order{N: len(seqs), Batch: min(batchSize, len(seqs)), Seed: seed}}
}

func (f feeder) batch(step int) (models.Batch, error) {
	seqs := make([][]int32, 0, f.Batch)
	for _, i := range f.Indices(step) {
		seqs = append(seqs, f.seqs[i])
	}
	return text.Masking{Seed: f.Seed}.Batch(f.tok, seqs, step), nil
}

// Masks of what is scored and calibrated on.
const (
	testMask  = 1_000_001
	calibMask = 1_000_002
)

// masked returns the first n sequences, masked.
func (t texts) masked(seqs [][]int32, n int, seed uint64) models.Batch {
	return text.Masking{Seed: seed}.Batch(t.tok, seqs[:min(n, len(seqs))], 0)
}
