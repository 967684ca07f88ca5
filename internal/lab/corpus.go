package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/text"
)

// Corpus is text to train and test on.
type Corpus struct {
	text.Corpus
	Name  string // as [OpenCorpus] knows it
	Label string // what results on it must be called
}

// Atlas names the encyclopedia that is written here and stands in for Wikipedia.
const Atlas = "atlas"

// The paragraphs of the encyclopedia.
const (
	atlasTrain, atlasTrainSeed = 20_000, 1
	atlasTest, atlasTestSeed   = 2_000, 2
)

// CorpusNames lists what [OpenCorpus] knows.
func CorpusNames() []string { return []string{"auto", "wikitext2", "wiki2016", Atlas, "folder"} }

// OpenCorpus opens a text of [CorpusNames], looked for in dir first. "auto" is
// WikiText-2 where it can be had, else articles of 2016, else the encyclopedia.
func OpenCorpus(ctx context.Context, name, dir string) (Corpus, error) {
	if name == "auto" {
		return FirstCorpus(ctx, dir, "wikitext2", "wiki2016")
	}
	return openCorpus(ctx, name, dir)
}

// FirstCorpus opens the first of some texts that can be had, else the
// encyclopedia.
func FirstCorpus(ctx context.Context, dir string, names ...string) (Corpus, error) {
	var why error
	for _, name := range names {
		c, err := openCorpus(ctx, name, dir)
		if err == nil || !errors.Is(err, data.ErrUnavailable) || ctx.Err() != nil {
			return c, err
		}
		why = errors.Join(why, err)
	}
	cli.Notice("text of Wikipedia is neither on this machine nor to be had from the network (%s); going on with an "+
		"encyclopedia written here", cli.OneLine(why))
	return openCorpus(ctx, Atlas, dir)
}

func openCorpus(ctx context.Context, name, dir string) (Corpus, error) {
	c := Corpus{Name: name}
	var err error
	where := dir
	switch name {
	case Atlas:
		c.Label = Atlas
		c.Corpus = text.Corpus{Train: dataset.Encyclopedia(atlasTrain, atlasTrainSeed),
			Test: dataset.Encyclopedia(atlasTest, atlasTestSeed)}
		return c, ctx.Err()
	case "folder":
		if dir == "" {
			return c, errors.New("-data folder needs -dir with train.txt and valid.txt")
		}
		c.Label = "text of " + filepath.Base(dir)
	case "wikitext2", "wiki2016":
		c.Label = map[string]string{"wikitext2": "WikiText-2", "wiki2016": "Wikipedia articles of 2016"}[name]
		if where, err = data.Find(ctx, name, data.Options{Dir: dir, Observe: cli.NoticeStages(name)}); err != nil {
			return c, err
		}
	default:
		return c, fmt.Errorf("no text is called %q, allowed are %s", name, strings.Join(CorpusNames(), ", "))
	}
	c.Corpus, err = text.Open(ctx, where)
	return c, err
}

// learnVocabulary makes a tokenizer of a vocabulary learned from the training
// text, and the files that hold it beside a checkpoint.
func (c Corpus) learnVocabulary(o objective, words int) (*text.Tokenizer, map[string][]byte, error) {
	name, raw, err := o.vocabulary(c.Train, words)
	if err != nil {
		return nil, nil, fmt.Errorf("a vocabulary of %s: %w", c.Label, err)
	}
	tok, err := text.ParseTokenizer(name, raw)
	return tok, map[string][]byte{name: raw}, err
}
