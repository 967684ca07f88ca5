package vision

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A Net is a vision transformer to be trained; its MLPs are four times as wide
// as its stream.
type Net struct {
	Class string `json:"class,omitempty"` // of package models; empty means ViTForImageClassification
	Width int    `json:"width"`
	Depth int    `json:"depth"`
	Heads int    `json:"heads"`
	Patch int    `json:"patch"` // pixels
	Seed  uint64 `json:"seed"`
}

// config is the network on these images.
func (i Images) config(n Net) models.Config {
	labels, ids := map[string]string{}, map[string]int{}
	for k, name := range i.Train.Classes {
		labels[fmt.Sprint(k)] = name
		ids[name] = k
	}
	if n.Class == models.SimpleViT().Class {
		return models.SimpleViTConfig{Hidden: n.Width, Layers: n.Depth, Heads: n.Heads, MLP: 4 * n.Width, InitStd: initStd,
			Image: i.Train.H, Patch: n.Patch, Channels: i.Train.C, Labels: labels, LabelIDs: ids, DType: "float32"}
	}
	return models.ViTConfig{Hidden: n.Width, Layers: n.Depth, Heads: n.Heads, MLP: 4 * n.Width, Act: "gelu", Eps: 1e-12, InitStd: initStd,
		Image: i.Train.H, Patch: n.Patch, Channels: i.Train.C, Labels: labels, LabelIDs: ids, DType: "float32"}
}

// initStd is the standard deviation of initial weights.
const initStd = 0.02

// Fresh draws the parameters of a network to be trained.
func (i Images) Fresh(n Net) (*models.Model, error) {
	if n.Class == "" {
		n.Class = models.ViT().Class
	}
	arch, err := models.Find([]string{n.Class}, models.ViT(), models.SimpleViT())
	if err != nil {
		return nil, err
	}
	m, err := models.Fresh(arch, i.config(n), n.Seed, initStd)
	if err != nil {
		return nil, err
	}
	text, err := i.processor()
	m.Files = map[string][]byte{data.ProcessorFile: text}
	return m, err
}

// A Parent is a network to train from scratch into a directory.
type Parent struct {
	Images   Images
	Net      Net
	Schedule training.Schedule
	Out      string
}

// Start returns the parent before its training and the recipe of that, for a
// trainer.
func (p Parent) Start() (*models.Model, gomlx.TrainConfig, error) {
	m, err := p.Images.Fresh(p.Net)
	return m, p.Schedule.Recipe(p.feed().StepsPerEpoch()), err
}

func (p Parent) feed() Feeder { return p.Images.Feed(p.Schedule.Batch, p.Net.Seed) }

// Train trains the parent by a trainer made for its [Parent.Start], looks at it
// now and then, and saves it. What is interrupted goes on at the next call.
func (p Parent) Train(ctx context.Context, trainer *gomlx.Trainer, device *gomlx.Device) error {
	feed := p.feed()
	recipe := p.Schedule.Recipe(feed.StepsPerEpoch())
	epoch := max(feed.StepsPerEpoch()/max(recipe.Accumulate, 1), 1) // updates
	r := training.Run{Trainer: trainer, Feed: feed.Batch, Accumulate: recipe.Accumulate, Steps: recipe.Steps,
		Save: p.Out + ".training.safetensors", Every: 5 * epoch}
	r.Look = func(step int, m *models.Model) error {
		s, err := p.Images.Score(ctx, device, m)
		if err == nil {
			cli.Notice("epoch %.1f: test accuracy %.2f %%, loss %.3f", float64(step)/float64(epoch), 100*s.Accuracy, s.Loss)
		}
		return err
	}
	cli.Notice("training on %s, seed %d, %g epochs; Ctrl-C stops, the same command goes on", p.Images.Label, p.Net.Seed, p.Schedule.Epochs)
	return r.Into(ctx, p.Out, nil)
}
