// Package language is what the programs about text share: a corpus cut into
// sequences, their masked batches, and BERTs trained on it from scratch.
package language

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/text"
)

// A Corpus is text to train and test on.
type Corpus struct {
	text.Corpus
	Name  string // as [Open] knows it
	Label string // what results on it must be called
}

// Own is the encyclopedia that is written here and stands in for Wikipedia.
const Own = "atlas"

// Its paragraphs.
const (
	atlasTrain, atlasTrainSeed = 20_000, 1
	atlasTest, atlasTestSeed   = 2_000, 2
)

// Names lists what [Open] knows.
func Names() []string { return []string{"auto", "wikitext2", "wiki2016", Own, "folder"} }

// Open opens a text of [Names], looked for in dir first. "auto" is WikiText-2
// where it can be had, else articles of 2016, else the encyclopedia.
func Open(ctx context.Context, name, dir string) (Corpus, error) {
	if name == "auto" {
		return First(ctx, dir, "wikitext2", "wiki2016")
	}
	return open(ctx, name, dir)
}

// First opens the first of some texts that can be had, else the encyclopedia.
func First(ctx context.Context, dir string, names ...string) (Corpus, error) {
	var why error
	for _, name := range names {
		c, err := open(ctx, name, dir)
		if err == nil || !errors.Is(err, data.ErrUnavailable) || ctx.Err() != nil {
			return c, err
		}
		why = errors.Join(why, err)
	}
	cli.Notice("text of Wikipedia is neither on this machine nor to be had from the network (%s); going on with an encyclopedia written here", cli.OneLine(why))
	return open(ctx, Own, dir)
}

func open(ctx context.Context, name, dir string) (Corpus, error) {
	c := Corpus{Name: name}
	var err error
	where := dir
	switch name {
	case Own:
		c.Label = Own
		c.Corpus = text.Corpus{Train: dataset.Encyclopedia(atlasTrain, atlasTrainSeed), Test: dataset.Encyclopedia(atlasTest, atlasTestSeed)}
		return c, ctx.Err()
	case "folder":
		if dir == "" {
			return c, errors.New("-data folder needs -dir with train.txt and valid.txt")
		}
		c.Label = "text of " + filepath.Base(dir)
	case "wikitext2", "wiki2016":
		c.Label = map[string]string{"wikitext2": "WikiText-2", "wiki2016": "Wikipedia articles of 2016"}[name]
		var last string
		observe := func(p models.Progress) {
			if line := fmt.Sprintf("%s: %s %s", name, p.Stage, p.Item); line != last {
				cli.Notice("%s", line)
				last = line
			}
		}
		if where, err = data.Find(ctx, name, data.Options{Dir: dir, Observe: observe}); err != nil {
			return c, err
		}
	default:
		return c, fmt.Errorf("no text is called %q, allowed are %s", name, strings.Join(Names(), ", "))
	}
	c.Corpus, err = text.Open(ctx, where)
	return c, err
}

// The files that a tokenizer comes as, the better one first; and what a
// checkpoint brings whose words are not its own to bring: the SHA-256 of the
// vocabulary that is learned from its text.
const (
	TokenizerFile  = "tokenizer.json"
	VocabularyFile = "vocab.txt"
	sumFile        = "vocab.sha256.txt"
)

// Lend gives the parents that bring only the sum of their vocabulary the one
// learned from this text, which must be that.
func (c Corpus) Lend(parents []*models.Model) error {
	learned := map[int]map[string][]byte{} // by number of words
	for k, m := range parents {
		sum, ok := m.Files[sumFile]
		if !ok {
			continue
		}
		words := wordPieces(m).Below
		if learned[words] == nil {
			_, files, err := c.Learned(words)
			if err != nil {
				return err
			}
			learned[words] = files
		}
		if got := sha256.Sum256(learned[words][VocabularyFile]); fmt.Sprintf("%x", got) != strings.TrimSpace(string(sum)) {
			return fmt.Errorf("parent %d was not trained on this text: the vocabulary learned from it differs", k)
		}
		m.Files = learned[words]
	}
	return nil
}

// Learned makes a tokenizer of a vocabulary learned from the training text, and
// the files that say so beside a checkpoint.
func (c Corpus) Learned(words int) (*text.Tokenizer, map[string][]byte, error) {
	v, err := dataset.TrainVocabulary(c.Train, words)
	if err != nil {
		return nil, nil, fmt.Errorf("a vocabulary of %s: %w", c.Label, err)
	}
	tok, err := text.NewTokenizer(v)
	return tok, map[string][]byte{VocabularyFile: []byte(strings.Join(v, "\n") + "\n")}, err
}
