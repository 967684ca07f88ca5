// Package story is what the programs share that fuse parents and show what comes
// out: parents and one-shot fusions are scored, the lines between models drawn,
// all finetuned on equal budgets, and everything published.
package story

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A Setup is what a program brings to its story.
type Setup struct {
	Title   string          // of the report
	Data    string          // label of the data
	Samples string          // what samples are called: images
	Backend string          // its name
	Out     string          // directory of what comes out
	File    string          // of the report; empty means report.json in Out
	Parents []*models.Model // anchor first
	Fusions []Fusion
	Device  *gomlx.Device

	Calib, Quick models.Batch // to align on, to score the points of curves on
	Batch        int          // samples scored at a time
	Tests        int          // samples that rows are scored on

	Judge     func(ms ...*models.Model) (gomlx.Score, error)   // scores rows
	Score     func(row *report.Row, ms ...*models.Model) error // scores further; may be nil
	Learner   func(Fusion) *gomlx.Learner                      // of learned matching, to be observed
	Trainer   func(*models.Model) (*gomlx.Trainer, error)      // of finetuning
	Distiller func(*models.Model) (*gomlx.Trainer, error)      // the same without labels, from the parents; may be nil
	Feed      func(step int) (models.Batch, error)             // of finetuning
	Lesson    int                                              // samples of a batch of Feed
	Steps     int                                              // of finetuning
}

// A Story is what was found so far.
type Story struct {
	Setup
	Report  report.Report
	ctx     context.Context
	reports map[string]*fuse.Report  // by label of a fusion
	fused   map[string]*models.Model // by label of a row
	ways    map[string]way           // by label of a fusion
}

// A way is a straight line between two models.
type way struct{ from, to *models.Model }

// Tell goes through the chapters in order until one fails. Whatever stops it,
// what was found is published.
func Tell(ctx context.Context, setup Setup, chapters ...func(*Story) error) error {
	s := &Story{Setup: setup, ctx: ctx, reports: map[string]*fuse.Report{}, fused: map[string]*models.Model{}, ways: map[string]way{}}
	s.Report.Data, s.Report.Backend = setup.Data, setup.Backend
	var err error
	for _, chapter := range chapters {
		if err = chapter(s); err != nil {
			break
		}
	}
	if len(s.Report.Rows) == 0 {
		return err
	}
	return errors.Join(err, s.publish())
}

// Context is that of the story.
func (s *Story) Context() context.Context { return s.ctx }

// Best returns, of each method, the fusion that is finetuned and drawn: the
// first. The last of them is saved.
func (s *Story) Best() []Fusion {
	var out []Fusion
	for _, f := range s.Fusions {
		if len(out) == 0 || out[len(out)-1].Recipe.Method != f.Recipe.Method {
			out = append(out, f)
		}
	}
	return out
}

// Main is the fusion that is saved.
func (s *Story) Main() Fusion { return s.Best()[len(s.Best())-1] }

// add scores a model, or an ensemble, and adds its row.
func (s *Story) add(row report.Row, ms ...*models.Model) error {
	score, err := s.Judge(ms...)
	if err != nil {
		return err
	}
	row.Score(score)
	if s.Score != nil {
		if err := s.Score(&row, ms...); err != nil {
			return err
		}
	}
	s.Add(row)
	return nil
}

// Add adds a row that has its score.
func (s *Story) Add(row report.Row) {
	s.Report.Add(row)
	cli.Notice("%-34s accuracy %6.2f %%  loss %.3f", row.Label, 100**row.Accuracy, *row.Loss)
}

// ScoreParents scores the parents and their ensemble.
func (s *Story) ScoreParents() error {
	for k, m := range s.Parents {
		if err := s.add(report.Row{Method: "parent", Label: parentLabel(k)}, m); err != nil {
			return err
		}
	}
	return s.add(report.Row{Method: "ensemble", Label: "ensemble of the parents"}, s.Parents...)
}

func parentLabel(k int) string {
	if k == 0 {
		return "parent 0 (anchor)"
	}
	return fmt.Sprintf("parent %d", k)
}

// equal reports whether two models have the same widths.
func equal(a, b *models.Model) bool {
	return a.Dims().Width == b.Dims().Width && a.Dims().MLP == b.Dims().MLP
}

// vanillaLabel is the row of plain averaging.
const vanillaLabel = "vanilla fusion"

// Vanilla scores the mean of the parents as they are, and what a refit makes of
// it: that shows what alignment is worth. There is no mean of unequal widths.
func (s *Story) Vanilla() error {
	for _, m := range s.Parents {
		if !equal(m, s.Parents[0]) {
			return nil
		}
	}
	started := time.Now()
	set := &fuse.Settings{Calibration: s.Device.Calibration(s.Calib, nil)}
	aligned, _, err := fuse.Align(s.ctx, s.Parents[0], s.Parents[1:], fuse.Vanilla{}, set)
	if err != nil {
		return err
	}
	m, err := aligned.Mean(nil)
	if err != nil {
		return err
	}
	s.fused[vanillaLabel] = m
	if err := s.add(report.Row{Method: "vanilla", Label: vanillaLabel, Seconds: time.Since(started).Seconds()}, m); err != nil {
		return err
	}
	if m, err = (fuse.Refit{Ridge: Ridge}).Fit(s.ctx, m, aligned, set); err != nil {
		return err
	}
	return s.add(report.Row{Method: "vanilla", Label: vanillaLabel + ", refit", Options: recipe.Recipe{Refit: Ridge, Samples: s.Calib.Len()},
		Seen: fmt.Sprintf("%d %s", s.Calib.Len(), s.Samples), Seconds: time.Since(started).Seconds()}, m)
}

// Fuse makes every fusion and saves the main one.
func (s *Story) Fuse() error {
	for _, f := range s.Fusions {
		if err := s.align(f); err != nil {
			return err
		}
	}
	main := s.Main().Label
	s.Report.AddNodes(s.reports[main])
	return s.fused[main].Save(filepath.Join(s.Out, "fused"))
}

// align moves the other parents into the basis of the anchor, whose line to the
// first of them the plots show, and takes the mean.
func (s *Story) align(f Fusion) error {
	method, set, err := s.method(f)
	if err != nil {
		return err
	}
	started := time.Now()
	aligned, rep, err := fuse.Align(s.ctx, s.Parents[0], s.Parents[1:], method, set)
	if err != nil {
		return err
	}
	m, err := aligned.Mean(set.Weights)
	if err == nil && set.Refit != nil {
		m, err = set.Refit.Fit(s.ctx, m, aligned, set)
	}
	if err != nil {
		return err
	}
	s.reports[f.Label], s.fused[f.Label] = rep, m
	s.ways[f.Label] = way{aligned.Anchor, aligned.Anchor.With(aligned.Others[0])}
	return s.add(report.Row{Method: f.Recipe.Method, Label: f.Label, Options: f.Recipe, Seen: s.seen(f), Seconds: time.Since(started).Seconds()}, m)
}

// seen says what a fusion took beside the models.
func (s *Story) seen(f Fusion) string {
	r := f.Recipe
	needs := r.Refit > 0 || r.Features == "activations" || strings.HasPrefix(r.Residual, "weighted")
	if !needs && r.Method != "learned" {
		return ""
	}
	text := fmt.Sprintf("%d %s", s.Calib.Len(), s.Samples)
	switch {
	case f.Labelled():
		text += fmt.Sprintf("; %d updates of %d with labels", r.Steps, r.Batch)
	case r.Method == "learned":
		text += fmt.Sprintf("; %d updates of %d of them", r.Steps, min(r.Batch, s.Calib.Len()))
	}
	return text
}

func (s *Story) method(f Fusion) (fuse.Method, *fuse.Settings, error) {
	r := f.Recipe
	var learner fuse.Learner
	if r.Method == "learned" {
		l, bar := s.Learner(f), cli.NewProgress(f.Label, r.Steps, 0)
		l.Config = gomlx.TrainConfig{Steps: r.Steps, LR: r.LR}
		l.Observe = func(p models.Progress) { bar.Step(fmt.Sprintf("loss %.3f", p.Loss)) }
		learner = l
	}
	method, set, err := r.Build(learner, s.Device)
	if err != nil {
		return nil, nil, err
	}
	set.KeepMaps = true // some are drawn
	set.Calibration, err = r.Calibration(s.ctx, s.Device, s.Calib, s.Parents...)
	return method, set, err
}
