package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"
)

// vitConfig is the network that the flags describe.
func vitConfig(o options, i images) models.Config {
	labels, ids := map[string]string{}, map[string]int{}
	for k, name := range i.train.Classes {
		labels[fmt.Sprint(k)] = name
		ids[name] = k
	}
	return models.Config{Architectures: []string{"ViTForImageClassification"}, ModelType: "vit",
		Hidden: o.width, Layers: o.depth, Heads: o.heads, MLP: 4 * o.width, Act: "gelu", Eps: 1e-12, InitStd: 0.02,
		Image: i.train.H, Patch: o.patch, Channels: i.train.C, Labels: labels, LabelIDs: ids, DType: "float32"}
}

// fresh draws the parameters of a parent to be trained.
func fresh(o options, i images) (*models.Model, error) {
	arch, config := models.ViT(), vitConfig(o, i)
	g, err := arch.Graph(config)
	if err != nil {
		return nil, fmt.Errorf("vit-cifar: %w", err)
	}
	m, err := models.New(arch, config, models.Init(g, o.seed, config.InitStd))
	if err != nil {
		return nil, err
	}
	text, err := i.processor()
	m.Files = map[string][]byte{processorName: text}
	return m, err
}

// trainParent is the -train mode: one parent from scratch into -out.
func trainParent(ctx context.Context, o options) error {
	if err := cli.Replaceable(o.out); err != nil {
		return fmt.Errorf("vit-cifar: -out: %w", err)
	}
	img, err := openImages(ctx, o)
	if err != nil {
		return err
	}
	m, err := fresh(o, img)
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
	feed := img.feeder(o.seed)
	r := training.Run{Feed: feed.batch, Save: o.out + ".training.safetensors", Every: 5 * feed.PerEpoch()}
	r.Steps = max(int(o.epochs*float64(feed.PerEpoch())), 1)
	r.Trainer, err = mlx.NewTrainer(backend, m, mlx.Recipe{Steps: r.Steps, LR: o.lr, MinLR: o.lr / 100,
		Warmup: feed.PerEpoch(), WeightDecay: 0.05, Clip: 1})
	if err != nil {
		return err
	}
	defer r.Trainer.Close()
	judge, err := first(img.test, img.test.Len(), img.norm)
	if err != nil {
		return err
	}
	r.Look = func(step int, m *models.Model) error {
		s, err := runner.Evaluate(ctx, judge, scoreBatch, m)
		if err == nil {
			cli.Notice("epoch %.1f: test accuracy %.2f %%, loss %.3f", float64(step)/float64(feed.PerEpoch()), 100*s.Accuracy, s.Loss)
		}
		return err
	}
	cli.Notice("training on %s, seed %d, %g epochs; Ctrl-C stops, the same command goes on", img.label, o.seed, o.epochs)
	trained, err := r.Do(ctx, "training")
	if err != nil {
		return err
	}
	if err := trained.Save(o.out); err != nil {
		return errors.Join(err, r.Keep())
	}
	if err := os.Remove(r.Save); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cli.Notice("saved %s", o.out)
	return nil
}
