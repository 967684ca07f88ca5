package main

import (
	"context"
	"fmt"
	"maps"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/gomlx"
)

// method is how the fusion is made, its calibration included.
func (j *job) method(ctx context.Context) (_ fuse.Method, _ *fuse.Settings, calibration *gomlx.Calibration,
	err error) {
	if j.device != nil && j.calib != nil {
		if calibration, err = j.recipe.Calibration(ctx, j.device, j.calib, j.models...); err != nil {
			return nil, nil, nil, err
		}
	}
	by, err := j.trainers(calibration)
	if err != nil {
		return nil, nil, nil, err
	}
	method, set, err := j.recipe.Build(by, j.device)
	if err != nil {
		return nil, nil, nil, err
	}
	if j.moments > 0 {
		set.MomentBytes = bytesOf(j.moments)
	}
	set.KeepMaps = j.maps != "" || j.html != ""
	if calibration != nil {
		set.Calibration = calibration
	}
	return method, set, calibration, nil
}

// trainers are what the recipe trains by, on the samples that models are aligned on.
func (j *job) trainers(calibration *gomlx.Calibration) (recipe.Trainers, error) {
	var by recipe.Trainers
	if calibration == nil {
		if j.recipe.Learns() || j.recipe.Distils() {
			return by, fmt.Errorf("method %s: -calib: %w", j.recipe.Method, fuse.ErrNoCalibration)
		}
		return by, nil
	}
	if j.recipe.Learns() {
		by.Learner = learner(j.device, *j.recipe.Alignment(), calibration.Data)
	}
	if j.recipe.Distils() {
		by.Distiller = distiller(j.device, j.recipe, calibration.Data)
	}
	return by, nil
}

// learner refines maps on views of the samples but for those that are held out. Images
// lose their labels, as a few hundred of them teach less than views that do not run out;
// samples of text keep them where they are there.
func learner(device *gomlx.Device, r recipe.Recipe, samples models.Batch) *gomlx.Learner {
	if _, text := samples["input_ids"]; !text {
		samples = maps.Clone(samples)
		delete(samples, models.Labels)
	}
	n := samples.Len()
	seen := n - r.HeldOutOf(n)
	views := data.Views{Samples: samples.Slice(0, seen), Size: r.Batch, Seed: feedSeed}
	l := device.Learner(data.Prefetch(1, views.Batch))
	if seen < n {
		l.HeldOut = samples.Slice(seen, n)
	}
	l.Config = gomlx.TrainConfig{Steps: r.Steps, LR: r.LR}
	bar := cli.NewProgress("learning maps", r.Steps, 0)
	l.Observe = func(p models.Progress) {
		if p.Stage == gomlx.StageLearn {
			bar.Step(fmt.Sprintf("loss %.3f", p.Loss))
		}
	}
	return l
}

// distiller trains a model on views of the samples but for those that are held out.
func distiller(device *gomlx.Device, r recipe.Recipe, samples models.Batch) *gomlx.Distiller {
	n := samples.Len()
	seen := n - r.HeldOutOf(n)
	views := data.Views{Samples: samples.Slice(0, seen), Size: r.Batch, Seed: feedSeed}
	l := device.Distiller(data.Prefetch(1, views.Batch))
	l.Config = gomlx.TrainConfig{Steps: r.Steps, LR: r.LR, Warmup: r.Steps / 10, WeightDecay: 0.05, Clip: 1}
	if seen < n {
		l.HeldOut = samples.Slice(seen, n)
	}
	bar := cli.NewProgress("distilling", r.Steps, 0)
	l.Observe = func(p models.Progress) {
		if p.Stage == gomlx.StageDistil {
			bar.Step(fmt.Sprintf("loss %.3f", p.Loss))
		}
	}
	return l
}

// feedSeed draws the order and the views of samples.
const feedSeed = 11
