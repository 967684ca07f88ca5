package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// rows scores the parents and every trial, then finetunes.
func (s *study) rows(ctx context.Context) error {
	_, err := lab.Run(ctx, s.device, s.experiment(), func(o *lab.Outcome) error {
		s.result.add(*o)
		return nil
	})
	return err
}

// experiment is the table as the lab runs it.
func (s *study) experiment() lab.Experiment {
	e := lab.Experiment{Task: s.task, Groups: s.groups, Names: lab.Names{Ensemble: "ensemble"}, Draws: s.scale.Draws,
		Line: s.table.line, Profile: s.table.profiled, Controls: !s.table.profiled,
		Unfinished: filepath.Join(s.cache, "unfinished-"+s.table.name)}
	for k, m := range s.groups[0] {
		e.Names.Parents = append(e.Names.Parents, fmt.Sprintf("parent %d, %d wide", k, m.Dims().Width))
	}
	for _, t := range s.table.trials {
		t.Shown = t.Recipe.Refit == 0 // a refitted model is on no line
		e.Trials = append(e.Trials, t)
	}
	if s.table.tuned == 0 {
		return e
	}
	schedule := s.schedule()
	batches := lab.TuneBatches(s.task, schedule.Batch, 0)
	t := lab.Tuning{Of: e.Names.Parents[:min(s.table.tuned, len(e.Names.Parents))], Suffix: lab.SuffixFinetuned,
		Config: schedule.Config(batches.PerEpoch), Batches: batches.At, Size: schedule.Batch}
	for _, trial := range e.Trials {
		t.Of = append(slices.Clip(t.Of), trial.Label)
	}
	e.Tune = []lab.Tuning{t}
	return e
}

// schedule is that of finetuning.
func (s *study) schedule() lab.Schedule {
	if s.table.parents(s.scale)[0][0].Words > 0 {
		return s.scale.TuneText
	}
	return s.scale.Tune
}

// attempt is one fusion by a trial on the first draw of calibration samples.
func (s *study) attempt(t lab.Trial, parents []*models.Model) lab.Attempt {
	return lab.Attempt{Device: s.device, Task: s.task, Parents: parents, Trial: t, Profile: s.table.profiled,
		Samples: lab.Draw(s.task, t.Recipe.Samples, 0)}
}

// add adds the row of an outcome.
func (r *result) add(o lab.Outcome) {
	x := row{Row: o.Row, Runs: len(o.Scores), Lines: o.Lines, Stages: o.Stages}
	if x.Options == nil {
		x.Options = struct{}{}
	}
	var accuracy, loss, barriers []float64
	for _, s := range o.Scores {
		accuracy, loss = append(accuracy, s.Accuracy), append(loss, s.Loss)
	}
	for _, b := range o.Barriers {
		barriers = append(barriers, b.Loss)
	}
	x.Accuracy, x.AccuracyStd = summary(accuracy)
	x.Loss, x.LossStd = summary(loss)
	x.Barrier, x.BarrierStd = summary(barriers)
	r.Rows = append(r.Rows, x)
}

// addModel scores a model and adds its row.
func (s *study) addModel(ctx context.Context, r report.Row, m *models.Model) error {
	score, err := s.task.Score(ctx, s.device, m)
	if err != nil {
		return err
	}
	r.Score(score)
	s.result.add(lab.Outcome{Row: r, Scores: []gomlx.Score{score}})
	return nil
}
