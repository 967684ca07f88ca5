package story

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/internal/training"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// quick scores a model as a point of a curve.
func (s *Story) quick(x float64, m *models.Model) (report.Point, error) {
	score, err := s.Device.Evaluate(s.ctx, s.Quick, s.Batch, m)
	return report.Point{X: x, Accuracy: score.Accuracy, Loss: score.Loss}, err
}

// point adds a point to the curve of a row along an axis.
func (s *Story) point(along string, row report.Row, x float64, m *models.Model) error {
	at, err := s.quick(x, m)
	if err != nil {
		return err
	}
	s.Report.AddPoint(row, along, at)
	return nil
}

// asItIs is the way between models that nothing moves.
const asItIs = "as it is"

// linePoints is the number of points along the line between two models.
const linePoints = 21

// Line scores the models on the way from the anchor to the first other model:
// as it is, and as the best fusion of each method moves it. How high the barrier
// between them is counts from the models as they are.
func (s *Story) Line() error {
	from, err := s.quick(0, s.Parents[0])
	if err != nil {
		return err
	}
	to, err := s.quick(1, s.Parents[1])
	if err != nil {
		return err
	}
	var rows []report.Row
	if anchor, other := s.Parents[0], s.Parents[1]; equal(anchor, other) {
		rows, s.ways[asItIs] = append(rows, report.Row{Method: "vanilla", Label: asItIs}), way{anchor, other}
	}
	for _, f := range s.Best() {
		rows = append(rows, report.Row{Method: f.Recipe.Method, Label: f.Label})
	}
	bar := cli.NewProgress("line between the models", len(rows)*linePoints, 0)
	for _, row := range rows {
		w := s.ways[row.Label]
		for k := range linePoints {
			x := float64(k) / (linePoints - 1)
			m, err := (&fuse.Aligned{Anchor: w.from, Others: []models.Params{w.to.Params}}).Line(x)
			if err != nil {
				return err
			}
			if err := s.point(report.AlongLine, row, x, m); err != nil {
				return err
			}
			bar.Step(row.Label)
		}
		c := &s.Report.Curves[len(s.Report.Curves)-1]
		barrier := report.BarrierOf(c.Points, from, to)
		c.Barrier = &barrier
		cli.Notice("%-34s barrier of the loss %.3f nats, of the accuracy %.2f points", row.Label, c.Barrier.Loss, 100*c.Barrier.Accuracy)
	}
	bar.Done()
	return nil
}

// Tuned ends the labels of finetuned rows, distilled those of rows that learned
// from the parents in place of labels.
const (
	Tuned     = ", finetuned"
	distilled = ", distilled"
)

// A Start is a model to finetune and the row that it makes.
type Start struct {
	Row   report.Row
	Model *models.Model
}

// start is how a model begins that a row is about.
func (s *Story) start(row report.Row, m *models.Model) Start {
	for _, r := range s.Report.Rows {
		if r.Label == row.Label {
			row.Seen = r.Seen
		}
	}
	return Start{row, m}
}

// Starts lists what is finetuned of what was made: the best fusion of each
// method, vanilla fusion and the parents of the anchor's widths.
func (s *Story) Starts() []Start {
	var out []Start
	for _, f := range s.Best() {
		if m := s.fused[f.Label]; m != nil {
			out = append(out, s.start(report.Row{Method: f.Recipe.Method, Label: f.Label, Options: f.Recipe}, m))
		}
	}
	if m := s.fused[vanillaLabel]; m != nil {
		out = append(out, s.start(report.Row{Method: "vanilla", Label: vanillaLabel}, m))
	}
	for k, m := range s.Parents {
		if equal(m, s.Parents[0]) {
			out = append(out, s.start(report.Row{Method: "parent", Label: parentLabel(k)}, m))
		}
	}
	return out
}

// Finetune trains the fused models and the parents on equal budgets, the same
// batches in the same order.
func (s *Story) Finetune() error { return s.school(s.Trainer, s.Starts(), Tuned) }

// Distill trains the main fusion and the anchor on the same budget to answer as
// the parents do in the mean, without labels.
func (s *Story) Distill() error {
	starts := slices.DeleteFunc(s.Starts(), func(st Start) bool {
		return st.Row.Label != s.Main().Label && st.Row.Label != parentLabel(0)
	})
	return s.school(s.Distiller, starts, distilled)
}

// school trains from starts by one trainer.
func (s *Story) school(open func(*models.Model) (*gomlx.Trainer, error), starts []Start, way string) error {
	t, err := open(s.Parents[0])
	if err != nil {
		return err
	}
	defer t.Close()
	for _, st := range starts {
		if err := s.tune(t, st, way); err != nil {
			return err
		}
	}
	return nil
}

// tune trains a model to the end of the budget.
func (s *Story) tune(t *gomlx.Trainer, st Start, how string) error {
	started := time.Now()
	if err := t.Reset(st.Model); err != nil {
		return err
	}
	taught := map[string]string{Tuned: "with labels", distilled: "without labels"}[how]
	seen := fmt.Sprintf("%d updates of %d %s", s.Steps, s.Lesson, taught)
	if st.Row.Seen != "" {
		seen = st.Row.Seen + "; " + seen
	}
	st.Row.Label, st.Row.Seen = st.Row.Label+how, seen
	r := training.Run{Trainer: t, Feed: s.Feed, Steps: s.Steps, Every: max(s.Steps/5, 1)}
	r.Look = func(step int, m *models.Model) error { return s.point(report.AlongUpdates, st.Row, float64(step), m) }
	if err := r.Look(0, st.Model); err != nil {
		return err
	}
	m, err := r.Do(s.ctx, st.Row.Label)
	if err != nil {
		return err
	}
	st.Row.Finetuned, st.Row.Seconds = s.Steps, time.Since(started).Seconds()
	if err := s.add(st.Row, m); err != nil {
		return err
	}
	if st.Row.Label == s.Main().Label+Tuned {
		return m.Save(filepath.Join(s.Out, "finetuned"))
	}
	return nil
}
