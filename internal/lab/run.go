package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// Experiment fuses parents in several ways and compares what comes out.
type Experiment struct {
	Task   Task              // that has accepted all parents
	Groups [][]*models.Model // of parents, the anchor first; a row is the mean over groups
	Names  Names             // of the rows of the parents
	Trials []Trial
	Draws  int      // random draws of calibration samples where there is one group; 0 means the first samples
	Seed   uint64   // of batches
	Line   int      // points on the line from the anchor to the first other model, as aligned; 0 for none
	Quick  int      // test samples that points of curves are scored on; 0 means all
	Maps   int      // maps that are kept of each trial that is shown
	Nodes  string   // label of the trial whose nodes are reported
	Narrow Narrow   // narrow networks made of the parents of the first group; the zero value for none
	Tune   []Tuning // what is trained afterwards

	// Controls adds what costs as much without fusing: the anchor shrunk, and beside
	// what is refitted or distilled a uniform share as far from the anchor.
	Controls bool

	Profile bool // every fusion is made twice, and its stages are timed

	// Unfinished is a directory for what long trainings resume from where the experiment is
	// interrupted, and for what they have finished, until all of it is done; empty for none.
	Unfinished string
}

// Names are the labels of rows that are no trials.
type Names struct {
	Parents  []string
	Ensemble string
}

// Outcome is what came of one row.
type Outcome struct {
	Row      report.Row       // its score is the mean over runs
	Models   []*models.Model  // what was scored in the first run: one model, or all of an ensemble
	Scores   []gomlx.Score    // of each run: of each group or draw
	Lines    [][]report.Point // of each group where the trial is shown
	Barriers []report.Barrier // of these
	Stages   *Stages          // of the last run, but for compilation; nil unless profiled
	fusion   *Fusion          // first run; nil where nothing was fused
	uniform  *Outcome         // the control beside it; nil for none
	shown    bool
}

// Run goes through an experiment until something fails and returns what was
// found. observe sees every row before it is added, and may complete it.
func Run(ctx context.Context, d *gomlx.Device, e Experiment, observe func(*Outcome) error) (*report.Report, error) {
	r := &run{Experiment: e, device: d, observe: observe, found: map[string]Outcome{}, shelf: shelf{dir: e.Unfinished}}
	_, r.report.Data = e.Task.Names()
	r.report.Backend = d.Name()
	err := r.runAll(ctx)
	if err != nil && ctx.Err() != nil && r.shelf.holdsAny() {
		cli.Notice("what was trained so far is kept in %s; the same command goes on from there", e.Unfinished)
	}
	return &r.report, err
}

// run is an experiment while it runs.
type run struct {
	Experiment
	device  *gomlx.Device
	observe func(*Outcome) error
	report  report.Report
	found   map[string]Outcome // by label of the row
	ends    [][2]report.Point  // of the lines of each group: the anchor and the first other model as they are
	quick   models.Batch       // for points of curves; nil means all test samples
	size    int                // samples of it at a time
	shelf   shelf
}

func (r *run) runAll(ctx context.Context) error {
	if r.Quick > 0 {
		var err error
		if r.quick, r.size, err = r.Task.Quick(r.Quick); err != nil {
			return err
		}
	}
	if err := r.scoreParents(ctx); err != nil {
		return err
	}
	for _, t := range r.Trials {
		if err := r.runTrial(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.Label, err)
		}
	}
	if err := r.runNarrow(ctx, r.Narrow); err != nil {
		return err
	}
	for _, t := range r.Tune {
		if err := r.runTuning(ctx, t); err != nil {
			return err
		}
	}
	return r.shelf.clear()
}

// scoreParents scores the parents and their ensemble.
func (r *run) scoreParents(ctx context.Context) error {
	for k, name := range r.Names.Parents {
		pick := func(group []*models.Model) []*models.Model { return group[k : k+1] }
		if err := r.scoreGroups(ctx, report.Row{Method: report.Parent, Label: name}, pick); err != nil {
			return err
		}
	}
	if len(r.Groups[0]) == 1 {
		return nil
	}
	pick := func(group []*models.Model) []*models.Model { return group }
	err := r.scoreGroups(ctx, report.Row{Method: report.Ensemble, Label: r.Names.Ensemble}, pick)
	if err == nil && r.Controls {
		err = r.scoreShrunk(ctx)
	}
	return err
}

// scoreGroups adds a row of what pick takes from each group.
func (r *run) scoreGroups(ctx context.Context, row report.Row, pick func([]*models.Model) []*models.Model) error {
	o := Outcome{Row: row, Models: pick(r.Groups[0])}
	for _, group := range r.Groups {
		s, err := r.Task.Score(ctx, r.device, pick(group)...)
		if err != nil {
			return err
		}
		o.Scores = append(o.Scores, s)
	}
	return r.add(o)
}

// runTrial fuses and scores: every group of parents or, where there is one and the
// recipe looks at samples, once for each draw of them.
func (r *run) runTrial(ctx context.Context, t Trial) error {
	t, err := t.Resolved()
	if err != nil {
		return err
	}
	draws := r.Draws
	if len(r.Groups) > 1 || draws == 0 || !t.Recipe.UsesSamples() {
		draws = 1
	}
	runs := len(r.Groups) * draws
	o := Outcome{Row: report.Row{Method: t.Recipe.Method, Label: t.Label, Options: t.Recipe}, shown: t.Shown}
	for k := range runs {
		parents, err := t.parents(r.Groups[k/draws])
		if err != nil {
			return err
		}
		a := Attempt{Device: r.device, Task: r.Task, Parents: parents, Trial: t, KeepMaps: t.Shown && r.Maps > 0,
			Profile: r.Profile}
		a.Samples, a.Seed = r.samples(t.Recipe.Samples, k)
		if (t.Recipe.Learns() || t.Recipe.Distils()) && !r.Profile { // what is timed is made anew
			if a.State, err = r.statePlace(a); err != nil {
				return err
			}
		}
		f, compile, err := a.measured(ctx)
		if err != nil {
			return err
		}
		o.Row.Seconds += f.Seconds / float64(runs)
		if r.Profile {
			if o.Stages != nil {
				compile += o.Stages.Compile
			}
			f.Stages.Compile = compile
			o.Row.Seconds, o.Stages = f.Stages.Seconds, &f.Stages
		}
		if k == 0 {
			o.Models, o.fusion, o.Row.Seen = []*models.Model{f.Model}, f, t.seen(len(a.Samples), r.Task.Unit())
			o.uniform = uniformOf(t, o.Row)
		}
		if err := r.measure(ctx, &o, f, k/draws); err != nil {
			return err
		}
	}
	control := o.uniform
	if err := r.add(o); err != nil || control == nil || len(control.Scores) == 0 {
		return err
	}
	return r.add(*control)
}

// statePlace is where an attempt that trains keeps its state: it depends on all that the
// state is of.
func (r *run) statePlace(a Attempt) (string, error) {
	trial, err := json.Marshal(a.Trial)
	if err != nil {
		return "", err
	}
	of := []any{describe(r.Task, a.Seed), string(trial), a.Samples}
	for _, m := range a.Parents {
		of = append(of, m)
	}
	return r.shelf.place(of...)
}

// samples returns the training samples that run k aligns on, and the seed of its
// batches.
func (r *run) samples(n, k int) ([]int, uint64) {
	if r.Draws == 0 {
		return r.Task.First(n), r.Seed
	}
	return Draw(r.Task, n, k), r.Seed + uint64(k)
}

// Draw returns n training samples, or all where there are fewer, drawn at random
// by a seed.
func Draw(t Task, n, seed int) []int {
	order := rand.New(rand.NewPCG(uint64(seed), 5)).Perm(t.Size())
	return order[:min(n, len(order))]
}

// measured fuses. Where stages are timed it fuses twice, and the difference is
// the time of compilation.
func (a Attempt) measured(ctx context.Context) (f *Fusion, compile float64, err error) {
	if !a.Profile {
		f, err = a.Fuse(ctx)
		return f, 0, err
	}
	cold, err := a.Fuse(ctx)
	if err != nil {
		return nil, 0, err
	}
	if f, err = a.Fuse(ctx); err != nil {
		return nil, 0, err
	}
	return f, max(cold.Stages.Seconds-f.Stages.Seconds, 0), nil
}

// measure scores a fusion of a group and, in the first draw of the group, its
// line.
func (r *run) measure(ctx context.Context, o *Outcome, f *Fusion, group int) error {
	s, err := r.Task.Score(ctx, r.device, f.Model)
	if err != nil {
		return err
	}
	o.Scores = append(o.Scores, s)
	if err := r.scoreUniform(ctx, o, f); err != nil {
		return err
	}
	if r.Line == 0 || !o.shown || len(o.Lines) > group {
		return nil
	}
	ends, err := r.lineEnds(ctx, group)
	if err != nil {
		return err
	}
	var points []report.Point
	bar := cli.NewProgress(o.Row.Label+", line", r.Line, 0)
	for k := range r.Line {
		x := float64(k) / float64(r.Line-1)
		m, err := f.Aligned.Line(x)
		if err != nil {
			return err
		}
		p, err := r.point(ctx, x, m)
		if err != nil {
			return err
		}
		points = append(points, p)
		bar.Step(fmt.Sprintf("loss %.3f", p.Loss))
	}
	bar.Done()
	o.Lines, o.Barriers = append(o.Lines, points), append(o.Barriers, report.BarrierOf(points, ends[0], ends[1]))
	return nil
}

// lineEnds scores the ends of the lines of a group, once.
func (r *run) lineEnds(ctx context.Context, group int) (out [2]report.Point, err error) {
	if group < len(r.ends) {
		return r.ends[group], nil
	}
	for k := range out {
		if r.quick == nil {
			s := r.found[r.Names.Parents[k]].Scores[group] // on the same samples
			out[k] = report.Point{X: float64(k), Accuracy: s.Accuracy, Loss: s.Loss}
		} else if out[k], err = r.point(ctx, float64(k), r.Groups[group][k]); err != nil {
			return out, err
		}
	}
	r.ends = append(r.ends, out)
	return out, nil
}

// point scores a model as a point of a curve.
func (r *run) point(ctx context.Context, x float64, m *models.Model) (report.Point, error) {
	var s gomlx.Score
	var err error
	if r.quick == nil {
		s, err = r.Task.Score(ctx, r.device, m)
	} else {
		s, err = r.device.Evaluate(ctx, r.quick, r.size, m)
	}
	return report.Point{X: x, Accuracy: s.Accuracy, Loss: s.Loss}, err
}

// add adds a row and tells of it.
func (r *run) add(o Outcome) error {
	var accuracy, loss []float64
	for _, s := range o.Scores {
		accuracy, loss = append(accuracy, s.Accuracy), append(loss, s.Loss)
	}
	o.Row.Score(gomlx.Score{Accuracy: stat.Mean(accuracy, nil), Loss: stat.Mean(loss, nil)})
	if err := r.observe(&o); err != nil {
		return err
	}
	r.report.Add(o.Row)
	r.remember(o)
	cli.Notice("%-34s accuracy %6.2f %%  loss %.3f", o.Row.Label, 100**o.Row.Accuracy, *o.Row.Loss)
	if len(o.Lines) > 0 {
		b := o.Barriers[0]
		r.report.Curves = append(r.report.Curves, report.Curve{Method: o.Row.Method, Label: o.Row.Label,
			Along:  report.AlongLine,
			Points: o.Lines[0], Barrier: &b})
		cli.Notice("%-34s barrier of the loss %.3f nats, of the accuracy %.2f points", o.Row.Label, b.Loss, 100*b.Accuracy)
	}
	if o.fusion == nil {
		return nil
	}
	if o.Row.Label == r.Nodes {
		r.report.AddNodes(o.fusion.Report)
	}
	if o.shown && r.Maps > 0 {
		r.report.Maps = append(r.report.Maps, report.SampleMaps(o.fusion.Report, r.Maps, o.Row.Label)...)
	}
	return nil
}

// remember keeps what later steps need of a row: models only where they are trained
// further.
func (r *run) remember(o Outcome) {
	o.fusion, o.uniform = nil, nil
	if !slices.ContainsFunc(r.Tune, func(t Tuning) bool { return slices.Contains(t.Of, o.Row.Label) }) {
		o.Models = nil
	}
	r.found[o.Row.Label] = o
}
