package language

import (
	"context"
	"math"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A Net is a BERT to be trained to find masked words; its MLPs are four times as
// wide as its stream.
type Net struct {
	Width  int
	Depth  int
	Heads  int
	Length int // word pieces of a sequence
	Seed   uint64
	Std    float64 // standard deviation of the initial weights; 0 means BERT's 0.02
}

// config is the network with a vocabulary.
func (n Net) config(words int) models.BERTConfig {
	if n.Std == 0 {
		n.Std = 0.02
	}
	return models.BERTConfig{
		Hidden: n.Width, Layers: n.Depth, Heads: n.Heads, MLP: 4 * n.Width, Act: "gelu", Eps: 1e-12, InitStd: n.Std,
		Vocab: words, Positions: n.Length, TypeVocab: 2, DType: "float32"}
}

// A Parent is a network to train from scratch into a directory.
type Parent struct {
	Texts    Texts
	Files    map[string][]byte // of the tokenizer, saved beside the checkpoint
	Net      Net
	Schedule training.Schedule
	Out      string
	Finish   func(*models.Model) *models.Model // makes what is saved; may be nil
}

// ScoreBatch is the number of sequences scored at a time.
const ScoreBatch = 64

// Start returns the parent before its training and the recipe of that, for a
// trainer.
func (p Parent) Start() (*models.Model, gomlx.TrainConfig, error) {
	config := p.Net.config(p.Texts.Tok.Size())
	m, err := models.Fresh(models.BERTForMaskedLM(), config, p.Net.Seed, config.InitStd)
	if err != nil {
		return nil, gomlx.TrainConfig{}, err
	}
	m.Files = p.Files
	return m, p.Schedule.Recipe(p.feed().StepsPerEpoch()), nil
}

func (p Parent) feed() Feeder { return p.Texts.Feed(p.Texts.Train, p.Schedule.Batch, p.Net.Seed) }

// Train trains the parent by a trainer made for its [Parent.Start], looks at it
// now and then, and saves it. What is interrupted goes on at the next call.
func (p Parent) Train(ctx context.Context, trainer *gomlx.Trainer, device *gomlx.Device) error {
	t, feed := p.Texts, p.feed()
	recipe := p.Schedule.Recipe(feed.StepsPerEpoch())
	r := training.Run{Trainer: trainer, Feed: feed.Batch, Accumulate: recipe.Accumulate, Steps: recipe.Steps,
		Save: p.Out + ".training.safetensors", Every: max(recipe.Steps/10, 1)}
	judge := t.Masked(t.Test, TestMask)
	r.Look = func(step int, m *models.Model) error {
		s, err := device.Evaluate(ctx, judge, ScoreBatch, m)
		if err == nil {
			cli.Notice("epoch %.1f: test loss %.3f (perplexity %.1f), %.2f %% of masked word pieces found",
				p.Schedule.Epochs*float64(step)/float64(recipe.Steps), s.Loss, math.Exp(s.Loss), 100*s.Accuracy)
		}
		return err
	}
	cli.Notice("training on %s, %d word pieces, %d sequences of %d, seed %d, %g epochs; Ctrl-C stops, the same command goes on",
		t.Label, t.Tok.Size(), len(t.Train), p.Net.Length, p.Net.Seed, p.Schedule.Epochs)
	return r.Into(ctx, p.Out, p.Finish)
}
