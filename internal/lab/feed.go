package lab

import (
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// learner returns what refines matching; nil where nothing does.
func (a Attempt) learner() fuse.Learner {
	if !a.Trial.Recipe.Learns() {
		return nil
	}
	r := a.Trial.Recipe.Alignment()
	batches := a.feed(a.Samples, r.Batch, learnSeed+a.Seed)
	if !a.Trial.Labels {
		batches = batches.unlabelled()
	}
	l := a.Device.Learner(batches.At)
	l.Seed, l.Config, l.Observe = a.Seed, gomlx.TrainConfig{Steps: r.Steps, LR: r.LR}, a.observer(r.Steps)
	return l
}

// distiller returns what trains on the answers of all parents; nil where nothing does.
func (a Attempt) distiller() (fuse.Distiller, error) {
	r := a.Trial.Recipe
	if !r.Distils() {
		return nil, nil
	}
	held := r.HeldOutOf(len(a.Samples))
	seen := a.Samples[:len(a.Samples)-held]
	a.Trial.Labels = false // they are those of learned matching
	l := a.Device.Distiller(data.Prefetch(1, a.feed(seen, r.Batch, distilSeed+a.Seed).At))
	l.Config = gomlx.TrainConfig{Steps: r.Steps, LR: r.LR, Warmup: r.Steps / 10, WeightDecay: 0.05, Clip: 1}
	l.Observe = a.observer(r.Steps)
	if held == 0 {
		return l, nil
	}
	var err error
	l.HeldOut, err = a.Task.Samples(a.Samples[len(seen):])
	return l, err
}

// feed returns what learned matching and distillation see: all training samples, or
// some of them, laid over each other where the trial says so. Of their labels
// distillation uses only which positions of a text count.
func (a Attempt) feed(some []int, size int, seed uint64) Batches {
	switch {
	case a.Trial.Labels || a.Trial.All:
		return a.Task.Batches(nil, size, seed)
	case a.Trial.Mixed:
		return a.Task.Batches(some, size, seed).mixedPairs(seed)
	}
	return a.Task.Batches(some, size, seed)
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
