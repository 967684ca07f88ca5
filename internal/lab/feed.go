package lab

import (
	"fmt"

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
	l.Seed, l.Config, l.Observe = a.Seed, gomlx.TrainConfig{Steps: r.Steps, LR: r.LR}, a.observer(gomlx.StageLearn)
	var err error
	if l.Checkpoint, l.Data, err = a.state(LearningSuffix, batches, held); err != nil || len(held) == 0 {
		return l, err
	}
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
	batches := a.feed(seen, r.Batch, distilSeed+a.Seed)
	l := a.Device.Distiller(data.Prefetch(1, batches.At))
	l.Config = gomlx.TrainConfig{Steps: r.Steps, LR: r.LR, Warmup: r.Steps / 10, WeightDecay: 0.05, Clip: 1}
	l.Observe = a.observer(gomlx.StageDistil)
	var err error
	if l.Checkpoint, l.Data, err = a.state(DistillingSuffix, batches, held); err != nil || len(held) == 0 {
		return l, err
	}
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

// state says where a training keeps its state and what its samples are: the first batch
// depends on the seed, the order of the samples and all that is done to them.
func (a Attempt) state(end string, batches Batches, held []int) (path, of string, err error) {
	if a.State == "" {
		return "", "", nil
	}
	first, err := batches.At(0)
	if err != nil {
		return "", "", err
	}
	digest, err := Digest(first)
	return a.State + end, fmt.Sprintf("%s, batches %s, held out %v", describe(a.Task, a.Seed), digest, held), err
}

// observer tells of updates.
func (a Attempt) observer(stage string) func(models.Progress) {
	if a.Observe != nil {
		return a.Observe
	}
	return cli.UpdateBar(a.Trial.Label, stage)
}
