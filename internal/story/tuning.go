package story

import (
	"path/filepath"
	"time"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
)

// The axes that curves run along.
const (
	share   = "share of the other model"
	updates = "updates"
)

// point adds a point to the curve of a row along an axis.
func (s *Story) point(along string, row cli.Row, x float64, m *models.Model) error {
	score, err := s.Runner.Evaluate(s.ctx, s.Quick, s.Batch, m)
	if err != nil {
		return err
	}
	at := cli.Point{X: x, Accuracy: score.Accuracy, Loss: score.Loss}
	for i, c := range s.Report.Curves {
		if c.Along == along && c.Label == row.Label {
			s.Report.Curves[i].Points = append(c.Points, at)
			return nil
		}
	}
	s.Report.Curves = append(s.Report.Curves, cli.Curve{Method: row.Method, Label: row.Label, Along: along, Points: []cli.Point{at}})
	return nil
}

// asItIs is the way between models that nothing moves.
const asItIs = "as it is"

// linePoints is the number of points along the line between two models.
const linePoints = 11

// Line scores the models on the way from the anchor to the first other model:
// as it is, and as the best fusion of each method moves it.
func (s *Story) Line() error {
	var rows []cli.Row
	if anchor, other := s.Parents[0], s.Parents[1]; equal(anchor, other) {
		rows, s.ways[asItIs] = append(rows, cli.Row{Method: "vanilla", Label: asItIs}), way{anchor, other}
	}
	for _, f := range s.Best() {
		rows = append(rows, cli.Row{Method: f.Recipe.Method, Label: f.Label})
	}
	bar := cli.NewProgress("line between the models", len(rows)*linePoints, 0)
	for _, row := range rows {
		w := s.ways[row.Label]
		for k := range linePoints {
			x := float64(k) / (linePoints - 1)
			p, err := fuse.Average([]models.Params{w.from.Params, w.to.Params}, []float64{1 - x, x})
			if err != nil {
				return err
			}
			if err := s.point(share, row, x, w.from.With(p)); err != nil {
				return err
			}
			bar.Step(row.Label)
		}
	}
	bar.Done()
	return nil
}

// Tuned ends the labels of finetuned rows.
const Tuned = ", finetuned"

// A Start is a model to finetune and the row that it makes.
type Start struct {
	Row   cli.Row
	Model *models.Model
}

// Starts lists what is finetuned of what was made: the best fusion of each
// method, vanilla fusion and the parents of the anchor's widths.
func (s *Story) Starts() []Start {
	var out []Start
	for _, f := range s.Best() {
		if m := s.fused[f.Label]; m != nil {
			out = append(out, Start{cli.Row{Method: f.Recipe.Method, Label: f.Label + Tuned, Options: f.Recipe}, m})
		}
	}
	if m := s.fused[vanillaLabel]; m != nil {
		out = append(out, Start{cli.Row{Method: "vanilla", Label: vanillaLabel + Tuned}, m})
	}
	for k, m := range s.Parents {
		if equal(m, s.Parents[0]) {
			out = append(out, Start{cli.Row{Method: "parent", Label: parentLabel(k) + Tuned}, m})
		}
	}
	return out
}

// Finetune trains the fused models and the parents on equal budgets, the same
// batches in the same order.
func (s *Story) Finetune() error {
	t, err := s.Trainer(s.Parents[0])
	if err != nil {
		return err
	}
	defer t.Close()
	for _, st := range s.Starts() {
		started, label := time.Now(), st.Row.Label
		if err := t.Reset(st.Model); err != nil {
			return err
		}
		r := training.Run{Trainer: t, Feed: s.Feed, Steps: s.Steps, Every: max(s.Steps/5, 1)}
		r.Look = func(step int, m *models.Model) error { return s.point(updates, st.Row, float64(step), m) }
		if err := r.Look(0, st.Model); err != nil {
			return err
		}
		m, err := r.Do(s.ctx, "finetuning "+label)
		if err != nil {
			return err
		}
		st.Row.Finetuned, st.Row.Seconds = s.Steps, time.Since(started).Seconds()
		if err := s.add(st.Row, m); err != nil {
			return err
		}
		if label == s.Main().Label+Tuned {
			if err := m.Save(filepath.Join(s.Out, "finetuned")); err != nil {
				return err
			}
		}
	}
	return nil
}
