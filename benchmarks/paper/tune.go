package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A start is a model to finetune and the row that it came from.
type start struct {
	row   report.Row
	model *models.Model
}

// feedSeed orders the batches of finetuning.
const feedSeed = 1_000_003

// schedule is that of finetuning.
func (s *study) schedule() training.Schedule {
	if s.table.parents(s.scale)[0][0].Words > 0 {
		return s.scale.TuneText
	}
	return s.scale.Tune
}

// finetune trains on equal budgets, the same batches in the same order.
func (s *study) finetune(ctx context.Context, starts []start) error {
	if len(starts) == 0 {
		return nil
	}
	schedule := s.schedule()
	f := s.field.feed(nil, schedule.Batch, feedSeed)
	rec := schedule.Recipe(f.perEpoch)
	t, err := s.device.Trainer(starts[0].model, rec)
	if err != nil {
		return err
	}
	defer t.Close()
	var kept []string
	for _, st := range starts {
		dir := s.tunedDir(st, rec)
		kept = append(kept, dir)
		run := training.Run{Trainer: t, Feed: f.batch, Accumulate: rec.Accumulate, Steps: rec.Steps, Every: rec.Steps, Save: dir + ".training.safetensors",
			Look: func(int, *models.Model) error { return nil }}
		started := time.Now()
		m, err := tuned(ctx, run, st, dir)
		if err != nil {
			return fmt.Errorf("finetuning %s: %w", st.row.Label, err)
		}
		x := row{Row: st.row}
		x.Label += ", finetuned"
		x.Finetuned, x.Seconds = rec.Steps, time.Since(started).Seconds()
		score, err := s.score(ctx, m)
		if err != nil {
			return err
		}
		x.scores = append(x.scores, score)
		s.result.add(x)
	}
	for _, dir := range kept {
		for _, path := range []string{dir, dir + ".training.safetensors"} {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// tunedDir is where a finetuned model is kept until its table is done.
func (s *study) tunedDir(st start, rec gomlx.TrainConfig) string {
	_, label := s.field.names()
	h := fnv.New64a()
	fmt.Fprint(h, label, rec, fingerprint(st.model))
	return filepath.Join(s.cache, fmt.Sprintf("tuned-%016x", h.Sum64()))
}

// tuned finetunes one model. What is finished or interrupted is found again by
// what it started from, until the table is done.
func tuned(ctx context.Context, run training.Run, s start, dir string) (*models.Model, error) {
	if m, err := models.Open(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if err := run.Trainer.Reset(s.model); err != nil {
		return nil, err
	}
	m, err := run.Do(ctx, "finetuning "+s.row.Label)
	if err != nil {
		return nil, err
	}
	return m, m.Save(dir)
}
