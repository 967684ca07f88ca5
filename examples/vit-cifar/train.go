package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"github.com/gomlx/compute"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/mlx"
)

// feeder makes the batches of a training run from its step alone, so that a
// run resumes exactly.
type feeder struct {
	set  *data.Set
	norm data.Norm
	aug  data.Augment
	data.Order
}

func (f feeder) batch(step int) (models.Batch, error) {
	idx := f.Indices(step)
	rng := rand.New(rand.NewPCG(f.Seed, uint64(step)))
	return batchOf(f.set, idx, f.norm, f.aug, rng)
}

// batchOf normalises images into a batch with labels.
func batchOf(set *data.Set, idx []int, norm data.Norm, aug data.Augment, rng *rand.Rand) (models.Batch, error) {
	x := make([]float32, len(idx)*set.C*set.H*set.W)
	y := make([]int32, len(idx))
	if err := set.Fill(x, y, idx, norm, aug, rng); err != nil {
		return nil, err
	}
	return models.Batch{
		"pixel_values": {Shape: []int{len(idx), set.C, set.H, set.W}, Floats: x},
		models.Labels:  {Shape: []int{len(idx)}, Ints: y},
	}, nil
}

// whole is a set as one batch.
func whole(set *data.Set, norm data.Norm) (models.Batch, error) {
	idx := make([]int, set.Len())
	for i := range idx {
		idx[i] = i
	}
	return batchOf(set, idx, norm, data.Augment{}, nil)
}

// run is one training: what it starts from, what it sees, how it is judged.
type run struct {
	backend compute.Backend
	model   *models.Model
	feed    feeder
	recipe  mlx.Recipe
	save    string // training checkpoint; empty for none
	watch   func(step int, loss float64, m func() (*models.Model, error)) error
}

// saveEvery is the time between two checkpoints of a training.
const saveEvery = time.Minute

// train trains to the end of the recipe, or until ctx is done: then what was
// reached is in the checkpoint, and the same call goes on from there.
func (r run) train(ctx context.Context, label string) (*models.Model, error) {
	t, err := mlx.NewTrainer(r.backend, r.model, r.recipe)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	if r.save != "" {
		switch err := t.Load(r.save); {
		case err == nil:
			notice("%s: going on at step %d of %s", label, t.Step(), r.save)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	bar := newProgress(label, r.recipe.Steps, t.Step())
	last := time.Now()
	for t.Step() < r.recipe.Steps {
		batch, err := r.feed.batch(t.Step())
		if err != nil {
			return nil, err
		}
		loss, err := t.Update(ctx, batch)
		if err != nil {
			return nil, errors.Join(err, r.keep(t))
		}
		bar.step(fmt.Sprintf("loss %.3f", loss))
		if r.watch != nil {
			if err := r.watch(t.Step(), loss, t.Model); err != nil {
				return nil, errors.Join(err, r.keep(t))
			}
		}
		if time.Since(last) > saveEvery {
			if err := r.keep(t); err != nil {
				return nil, err
			}
			last = time.Now()
		}
	}
	bar.done()
	return t.Model()
}

func (r run) keep(t *mlx.Trainer) error {
	if r.save == "" {
		return nil
	}
	return t.Save(r.save)
}

// smallViT is the network of the shipped parents: 4 layers, 128 wide, 4 heads,
// patches of 8 pixels.
func smallViT(classes []string) models.Config {
	labels, ids := map[string]string{}, map[string]int{}
	for i, name := range classes {
		labels[fmt.Sprint(i)] = name
		ids[name] = i
	}
	return models.Config{Architectures: []string{"ViTForImageClassification"}, ModelType: "vit",
		Hidden: 128, Layers: 4, Heads: 4, MLP: 512, Act: "gelu", Eps: 1e-12, InitStd: 0.02,
		Image: 32, Patch: 8, Channels: 3, Labels: labels, LabelIDs: ids, DType: "float32"}
}

// preprocessor is the preprocessor_config.json that says how images are
// normalised.
func preprocessor(set *data.Set, norm data.Norm) ([]byte, error) {
	return json.MarshalIndent(struct {
		Type      string         `json:"image_processor_type"`
		Normalise bool           `json:"do_normalize"`
		Rescale   bool           `json:"do_rescale"`
		Factor    float64        `json:"rescale_factor"`
		Resize    bool           `json:"do_resize"`
		Size      map[string]int `json:"size"`
		Mean      [3]float32     `json:"image_mean"`
		Std       [3]float32     `json:"image_std"`
	}{"ViTImageProcessor", true, true, 1. / 255, true, map[string]int{"height": set.H, "width": set.W}, norm.Mean, norm.Std}, "", "  ")
}

// trainParent is the -train mode: one parent from scratch into o.out.
func trainParent(ctx context.Context, o options) error {
	train, test, label, err := openData(ctx, o)
	if err != nil {
		return err
	}
	backend, err := openBackend(ctx)
	if err != nil {
		return err
	}
	defer backend.Finalize()
	arch, config, norm := models.ViT(), smallViT(train.Classes), train.Norm()
	g, err := arch.Graph(config)
	if err != nil {
		return err
	}
	m, err := models.New(arch, config, models.Init(g, o.seed, config.InitStd))
	if err != nil {
		return err
	}
	text, err := preprocessor(train, norm)
	if err != nil {
		return err
	}
	m.Files = map[string][]byte{"preprocessor_config.json": text}
	r := run{backend: backend, model: m, save: o.out + ".training.safetensors"}
	r.feed = feeder{train, norm, data.Augment{Pad: 4, Flip: 0.5}, data.Order{N: train.Len(), Batch: 128, Seed: o.seed}}
	r.recipe = mlx.Recipe{Steps: o.epochs * r.feed.PerEpoch(), LR: 1e-3, MinLR: 1e-5, Warmup: r.feed.PerEpoch(), WeightDecay: 0.05, Clip: 1}
	judge, err := whole(test, norm)
	if err != nil {
		return err
	}
	runner := mlx.NewRunner(backend)
	defer runner.Close()
	r.watch = func(step int, loss float64, now func() (*models.Model, error)) error {
		if step%(5*r.feed.PerEpoch()) != 0 && step != r.recipe.Steps {
			return nil
		}
		m, err := now()
		if err != nil {
			return err
		}
		s, err := runner.Evaluate(ctx, judge, 500, m)
		if err != nil {
			return err
		}
		notice("epoch %d: loss %.3f, test accuracy %.2f %%", step/r.feed.PerEpoch(), loss, 100*s.Accuracy)
		return nil
	}
	notice("training on %s, seed %d, %d epochs; Ctrl-C stops, the same command goes on", label, o.seed, o.epochs)
	trained, err := r.train(ctx, "training")
	if err != nil {
		return err
	}
	if err := trained.Save(o.out); err != nil {
		return err
	}
	if err := os.Remove(r.save); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	notice("saved %s", o.out)
	return nil
}
