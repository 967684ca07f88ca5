package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/gomlx/compute"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/internal/vision"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/mlx"
)

// scoreBatch is the number of images scored at a time.
const scoreBatch = 500

// lab is where tables are made.
type lab struct {
	options
	images  vision.Images
	backend compute.Backend
	runner  *mlx.Runner
	test    models.Batch
}

// named makes a table or figure.
func (l *lab) named(ctx context.Context, name string) (*result, error) {
	started := time.Now()
	r := &result{Name: name, Scale: l.scale, Data: l.images.Label, Backend: l.backend.Name(), Machine: thisMachine(), Commit: commit(ctx)}
	var err error
	if name == landscape {
		err = l.landscape(ctx, r)
	} else {
		all := tables(l.scale)
		err = l.table(ctx, r, all[slices.IndexFunc(all, func(t table) bool { return t.name == name })])
	}
	r.Seconds = time.Since(started).Seconds()
	return r, err
}

// table scores the parents and every trial, then finetunes.
func (l *lab) table(ctx context.Context, r *result, t table) error {
	r.Title = t.title
	parents, err := l.open(ctx, t.parents(l.scale))
	if err != nil {
		return err
	}
	r.Images = l.test.Len()
	var starts []start
	for k, m := range parents {
		label := fmt.Sprintf("parent %d, %d wide", k, m.Config.Hidden)
		if err := l.add(ctx, r, row{Row: cli.Row{Method: "parent", Label: label}}, m); err != nil {
			return err
		}
		if k < t.tuned {
			starts = append(starts, start{cli.Row{Method: "parent", Label: label, Options: struct{}{}}, m})
		}
	}
	if err := l.add(ctx, r, row{Row: cli.Row{Method: "ensemble", Label: "ensemble"}}, parents...); err != nil {
		return err
	}
	for _, trial := range t.trials {
		s, err := l.trial(ctx, r, trial, parents)
		if err != nil {
			return fmt.Errorf("%s: %w", trial.Label, err)
		}
		if t.tuned > 0 {
			starts = append(starts, s)
		}
	}
	return l.finetune(ctx, r, starts)
}

// open returns the parents of -parents, or those of a table, trained where they
// are missing, and readies the test images for them.
func (l *lab) open(ctx context.Context, kinds []kind) (out []*models.Model, err error) {
	dirs := l.parents
	if len(dirs) == 0 {
		for _, k := range kinds {
			dir, err := l.find(ctx, k)
			if err != nil {
				return nil, err
			}
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		m, err := models.Open(dir)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if err := l.images.Normalise(out); err != nil {
		return nil, err
	}
	n := l.images.Test.Len()
	if l.scale.Images > 0 {
		n = min(n, l.scale.Images)
	}
	l.test, err = l.images.First(l.images.Test, n)
	return out, err
}

// find returns the directory of a parent, which is trained where there is none.
func (l *lab) find(ctx context.Context, k kind) (string, error) {
	if k.Shipped != "" {
		dir := filepath.Join(k.Shipped, fmt.Sprintf("%s-seed%d", l.images.Name, k.Seed))
		if _, err := os.Stat(dir); err == nil {
			return dir, nil
		}
	}
	slug := strings.Join(strings.FieldsFunc(strings.ToLower(l.images.Label), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), "-")
	dir := filepath.Join(l.cache, fmt.Sprintf("%s-%dx%d-h%d-p%d-e%g-s%d", slug, k.Width, k.Depth, k.Heads, k.Patch, k.Train.Epochs, k.Seed))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	p := vision.Parent{Images: l.images, Net: k.Net, Schedule: k.Train, Out: dir}
	m, r, err := p.Start()
	if err != nil {
		return "", err
	}
	t, err := mlx.NewTrainer(l.backend, m, r)
	if err != nil {
		return "", err
	}
	defer t.Close()
	return dir, p.Train(ctx, t, l.runner)
}

// resolved is the recipe with all that the paper says where the trial is silent.
func (t trial) resolved() (recipe.Recipe, error) { return t.Recipe.Resolve(recipe.Calibrated) }

// trial fuses and scores, once for each draw of calibration images where the
// recipe looks at them. The first draw is what is finetuned.
func (l *lab) trial(ctx context.Context, r *result, t trial, parents []*models.Model) (start, error) {
	rec, err := t.resolved()
	if err != nil {
		return start{}, err
	}
	draws := l.scale.Draws
	if rec.Method == "vanilla" || rec.Features == "weights" {
		draws = 1
	}
	var first *models.Model
	out := row{Row: cli.Row{Method: rec.Method, Label: t.Label, Options: rec}}
	for draw := range draws {
		started := time.Now()
		m, err := l.fuse(ctx, rec, draw, parents)
		if err != nil {
			return start{}, err
		}
		out.Seconds += time.Since(started).Seconds() / float64(draws)
		s, err := l.runner.Evaluate(ctx, l.test, scoreBatch, m)
		if err != nil {
			return start{}, err
		}
		out.scores = append(out.scores, s)
		if draw == 0 {
			first = m
		}
	}
	r.add(out)
	return start{out.Row, first}, nil
}

// calibration draws n training images.
func (l *lab) calibration(n, draw int) (models.Batch, error) {
	order := rand.New(rand.NewPCG(uint64(draw), 5)).Perm(l.images.Train.Len())
	return l.images.Pick(l.images.Train, order[:min(n, len(order))])
}

// fuse makes one fusion.
func (l *lab) fuse(ctx context.Context, rec recipe.Recipe, draw int, parents []*models.Model) (*models.Model, error) {
	if rec.Method == "vanilla" {
		var all []models.Params
		for _, m := range parents {
			all = append(all, m.Params)
		}
		p, err := fuse.Average(all, rec.Weights)
		if err != nil {
			return nil, err
		}
		return parents[0].With(p), nil
	}
	o, err := l.fuseOptions(ctx, rec, draw, parents)
	if err != nil {
		return nil, err
	}
	m, _, err := fuse.Into(ctx, parents[0], parents[1:], o)
	return m, err
}

// fuseOptions are the options of a fusion on a draw of calibration images.
func (l *lab) fuseOptions(ctx context.Context, rec recipe.Recipe, draw int, parents []*models.Model) (*fuse.Options, error) {
	o, err := rec.Options()
	if err != nil {
		return nil, err
	}
	calib, err := l.calibration(rec.Samples, draw)
	if err != nil {
		return nil, err
	}
	if o.Calibration, err = rec.Calibration(ctx, l.runner, calib, parents...); err != nil {
		return nil, err
	}
	return o, nil
}

// add scores a model, or an ensemble.
func (l *lab) add(ctx context.Context, r *result, to row, ms ...*models.Model) error {
	if to.Options == nil {
		to.Options = struct{}{}
	}
	s, err := l.runner.Evaluate(ctx, l.test, scoreBatch, ms...)
	if err != nil {
		return err
	}
	to.scores = append(to.scores, s)
	r.add(to)
	return nil
}

// A start is a model to finetune and the row that it came from.
type start struct {
	row   cli.Row
	model *models.Model
}

// feedSeed orders the batches of finetuning.
const feedSeed = 1_000_003

// finetune trains on equal budgets, the same batches in the same order.
func (l *lab) finetune(ctx context.Context, r *result, starts []start) error {
	if len(starts) == 0 {
		return nil
	}
	rec := l.scale.Tune.Recipe(l.images.Feed(l.scale.Tune.Batch, feedSeed).PerEpoch())
	t, err := mlx.NewTrainer(l.backend, starts[0].model, rec)
	if err != nil {
		return err
	}
	defer t.Close()
	for _, s := range starts {
		started := time.Now()
		m, err := l.tuned(ctx, t, rec, s)
		if err != nil {
			return fmt.Errorf("finetuning %s: %w", s.row.Label, err)
		}
		s.row.Label += ", finetuned"
		s.row.Finetuned, s.row.Seconds = rec.Steps, time.Since(started).Seconds()
		if err := l.add(ctx, r, row{Row: s.row}, m); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(l.out, "tuned"))
}

// tuned finetunes one model. What is finished or interrupted is found again by
// what it started from, until the table is done.
func (l *lab) tuned(ctx context.Context, t *mlx.Trainer, rec mlx.Recipe, s start) (*models.Model, error) {
	dir := filepath.Join(l.out, "tuned", fingerprint(s.model))
	if m, err := models.Open(dir); err == nil {
		return m, nil
	}
	if err := t.Reset(s.model); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	feed := l.images.Feed(l.scale.Tune.Batch, feedSeed)
	run := training.Run{Trainer: t, Feed: feed.Batch, Accumulate: rec.Accumulate, Steps: rec.Steps, Every: rec.Steps, Save: dir + ".training.safetensors",
		Look: func(int, *models.Model) error { return nil }}
	m, err := run.Do(ctx, "finetuning "+s.row.Label)
	if err != nil {
		return nil, err
	}
	return m, m.Save(dir)
}

// fingerprint tells models apart by their values.
func fingerprint(m *models.Model) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(m.Params)) {
		_ = binary.Write(h, binary.LittleEndian, m.Params[name].Data) // a hash takes all
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
