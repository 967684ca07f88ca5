package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"
)

// training is one run of a trainer: what it sees, how it is watched.
type training struct {
	trainer *mlx.Trainer
	feed    feeder
	steps   int
	save    string // checkpoint of the training; empty for none
	every   int    // steps between two looks
	look    func(step int, m *models.Model) error
}

// saveEvery is the time between two checkpoints of a training.
const saveEvery = time.Minute

// run trains to the last step, or until ctx is done: then what was reached is
// in the checkpoint, and the same call goes on from there.
func (r training) run(ctx context.Context, label string) (*models.Model, error) {
	t := r.trainer
	if r.save != "" {
		switch err := t.Load(r.save); {
		case err == nil:
			cli.Notice("%s: going on at step %d of %s", label, t.Step(), r.save)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	bar := cli.NewProgress(label, r.steps, t.Step())
	last := time.Now()
	for t.Step() < r.steps {
		batch, err := r.feed.batch(t.Step())
		if err != nil {
			return nil, err
		}
		loss, err := t.Update(ctx, batch)
		if err != nil {
			return nil, errors.Join(err, r.keep())
		}
		bar.Step(fmt.Sprintf("loss %.3f", loss))
		if t.Step()%r.every == 0 || t.Step() == r.steps {
			m, err := t.Model()
			if err == nil {
				err = r.look(t.Step(), m)
			}
			if err != nil {
				return nil, errors.Join(err, r.keep())
			}
		}
		if time.Since(last) > saveEvery {
			if err := r.keep(); err != nil {
				return nil, err
			}
			last = time.Now()
		}
	}
	bar.Done()
	return t.Model()
}

func (r training) keep() error {
	if r.save == "" {
		return nil
	}
	return r.trainer.Save(r.save)
}

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
	r := training{feed: img.feeder(o.seed), save: o.out + ".training.safetensors"}
	r.every = 5 * r.feed.PerEpoch()
	r.steps = max(int(o.epochs*float64(r.feed.PerEpoch())), 1)
	r.trainer, err = mlx.NewTrainer(backend, m, mlx.Recipe{Steps: r.steps, LR: o.lr, MinLR: o.lr / 100,
		Warmup: r.feed.PerEpoch(), WeightDecay: 0.05, Clip: 1})
	if err != nil {
		return err
	}
	defer r.trainer.Close()
	judge, err := first(img.test, img.test.Len(), img.norm)
	if err != nil {
		return err
	}
	r.look = func(step int, m *models.Model) error {
		s, err := runner.Evaluate(ctx, judge, scoreBatch, m)
		if err == nil {
			cli.Notice("epoch %.1f: test accuracy %.2f %%, loss %.3f", float64(step)/float64(r.feed.PerEpoch()), 100*s.Accuracy, s.Loss)
		}
		return err
	}
	cli.Notice("training on %s, seed %d, %g epochs; Ctrl-C stops, the same command goes on", img.label, o.seed, o.epochs)
	trained, err := r.run(ctx, "training")
	if err != nil {
		return err
	}
	if err := trained.Save(o.out); err != nil {
		return errors.Join(err, r.keep())
	}
	if err := os.Remove(r.save); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cli.Notice("saved %s", o.out)
	return nil
}
