package lab

import (
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// learner returns what refines matching; nil where nothing does.
func (a Attempt) learner() (fuse.Learner, error) {
	if !a.Trial.Recipe.Learns() {
		return nil, nil
	}
	r := a.Trial.Recipe.Alignment()
	seen, held := a.divided(*r)
	batches := a.feed(seen, r.Batch, learnSeed+a.Seed)
	if !a.Trial.Labels {
		batches = batches.unlabelled()
	}
	l := a.Device.Learner(data.Prefetch(1, batches.At))
	l.Seed, l.Config, l.Observe = a.Seed, gomlx.TrainConfig{Steps: r.Steps, LR: r.LR}, a.observer(r.Steps)
	if len(held) == 0 {
		return l, nil
	}
	var err error
	if l.HeldOut, err = a.Task.Samples(held); !a.Trial.Labels {
		delete(l.HeldOut, models.Labels)
	}
	return l, err
}

// distiller returns what trains on the answers of all parents; nil where nothing does.
func (a Attempt) distiller() (fuse.Distiller, error) {
	r := a.Trial.Recipe
	if !r.Distils() {
		return nil, nil
	}
	a.Trial.Labels = false // they are those of learned matching
	seen, held := a.divided(r)
	l := a.Device.Distiller(data.Prefetch(1, a.feed(seen, r.Batch, distilSeed+a.Seed).At))
	l.Config = gomlx.TrainConfig{Steps: r.Steps, LR: r.LR, Warmup: r.Steps / 10, WeightDecay: 0.05, Clip: 1}
	l.Observe = a.observer(r.Steps)
	if len(held) == 0 {
		return l, nil
	}
	var err error
	l.HeldOut, err = a.Task.Samples(held)
	return l, err
}

// divided returns the training samples that a recipe trains on and those that it
// compares answers on. Where it sees all training samples, those that models are
// aligned on are held out.
func (a Attempt) divided(r recipe.Recipe) (seen, held []int) {
	n := r.HeldOutOf(len(a.Samples))
	if !a.Trial.Labels && !a.Trial.All {
		return a.Samples[:len(a.Samples)-n], a.Samples[len(a.Samples)-n:]
	}
	if n > 0 {
		held = a.Samples
	}
	out := map[int]bool{}
	for _, i := range held {
		out[i] = true
	}
	for i := range a.Task.Size() {
		if !out[i] {
			seen = append(seen, i)
		}
	}
	return seen, held
}

// feed returns batches of training samples, laid over each other where the trial says
// so. Of their labels distillation uses only which positions of a text count.
func (a Attempt) feed(seen []int, size int, seed uint64) Batches {
	batches := a.Task.Batches(seen, size, seed)
	if a.Trial.Mixed && !a.Trial.Labels && !a.Trial.All {
		return batches.mixedPairs(seed)
	}
	return batches
}

// observer tells of updates.
func (a Attempt) observer(updates int) func(models.Progress) {
	if a.Observe != nil {
		return a.Observe
	}
	bar := cli.NewProgress(a.Trial.Label, updates, 0)
	return func(p models.Progress) {
		if slices.Contains([]string{gomlx.StageLearn, gomlx.StageDistil}, p.Stage) {
			bar.Step(fmt.Sprintf("loss %.3f", p.Loss))
		}
	}
}
