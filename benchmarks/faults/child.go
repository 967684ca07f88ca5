package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/dataset/fetch"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/modeltest"
)

// jobVariable names the environment variable with the job of a child.
const jobVariable = "OTFUSE_FAULTS_JOB"

// ready is what a child prints when it begins.
const ready = "ready"

// child does a job and returns the status of the process: 2 where the job failed, of
// which one line says why.
func child(job string, args []string) int {
	jobs := map[string]func(args []string) error{
		"save": save, "save for ever": saveForEver, "fuse for ever": fuseForEver, "train": train, "fetch": download,
	}
	fmt.Println(ready)
	if err := jobs[job](args); err != nil {
		fmt.Println(cause(err))
		return 2
	}
	return 0
}

// cause is an error in one line.
func cause(err error) string { return fmt.Sprintf("%.300q", err.Error()) }

// generation is a model of a seed.
func generation(seed int) *models.Model {
	m, err := modeltest.ViT().Model(uint64(seed))
	if err != nil {
		panic(err) // the network is one of the library's own
	}
	return m
}

// generations is the number of models that a child saves by turns.
const generations = 3

// save saves a generation at args[0] once; args[1] is the most bytes that the disk
// has for a file, 0 for any number.
func save(args []string) error {
	limit, err := strconv.Atoi(args[1])
	if err == nil && limit > 0 {
		err = limitFiles(uint64(limit))
	}
	if err != nil {
		return err
	}
	return generation(1).Save(args[0])
}

// saveForEver saves one generation after the other.
func saveForEver(args []string) error {
	for k := 0; ; k++ {
		if err := generation(k % generations).Save(args[0]); err != nil {
			return err
		}
	}
}

// fused is what comes of fusing the first two generations.
func fused() (*models.Model, error) {
	others := []*models.Model{generation(1)}
	m, _, err := fuse.Into(context.Background(), generation(0), others, fuse.Transport{}, nil)
	return m, err
}

// fuseForEver fuses and saves at args[0].
func fuseForEver(args []string) error {
	for {
		m, err := fused()
		if err == nil {
			err = m.Save(args[0])
		}
		if err != nil {
			return err
		}
	}
}

// trainSteps is the number of updates of a training.
const trainSteps = 40

// train trains, or goes on training, a network in the folder args[0] on the data of
// the seed args[1], and saves it there.
func train(args []string) error {
	ctx := context.Background()
	d, err := gomlx.Open(ctx, nil)
	if err != nil {
		return err
	}
	start := generation(0)
	t, err := d.Trainer(start, gomlx.TrainConfig{Steps: trainSteps, LR: 1e-2, Warmup: 4, WeightDecay: 0.1})
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	batches := func(step int) (models.Batch, error) { return modeltest.Batch(start, 2, seed+uint64(step)) }
	o := gomlx.FitOptions{Checkpoint: filepath.Join(args[0], "state"), Every: 1, Data: "seed " + args[1]}
	if err := gomlx.Fit(ctx, t, batches, o); err != nil {
		return err
	}
	m, err := t.Model()
	if err != nil {
		return err
	}
	if err := m.Save(filepath.Join(args[0], "out")); err != nil {
		return err
	}
	return os.Remove(o.Checkpoint)
}

// download fetches the file args[0] of the SHA-256 args[1] to args[2].
func download(args []string) error {
	return fetch.Fetcher{}.Fetch(context.Background(), fetch.File{URL: args[0], SHA256: args[1]}, args[2])
}
