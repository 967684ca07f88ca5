package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

// The points of a line and of a training, and the maps, that a comparison shows.
const (
	linePoints   = 21
	briefPoints  = 5 // of a line where only the story is told
	TuningPoints = 5
	shownMaps    = 4
)

// Comparison is the experiment of the example programs: parents, what becomes of
// them by every trial of a choice, and all of these finetuned.
type Comparison struct {
	Task    Task            // that has accepted the parents
	Parents []*models.Model // the anchor first
	Choice  Choice
	Seed    uint64
	Quick   int    // test samples for points of curves
	Title   string // of the page
	Out     string // directory of what comes out
	File    string // of the report; empty means report.json in Out
}

// Experiment returns the comparison without tunings.
func (c Comparison) Experiment() (Experiment, error) {
	trials, err := c.Choice.Trials()
	if err != nil {
		return Experiment{}, err
	}
	if c.Choice.Method == allMethods && !c.canConcatenate() {
		trials = slices.DeleteFunc(trials, func(t Trial) bool { return t.Recipe.Method == recipe.Concatenate })
	}
	e := Experiment{Task: c.Task, Groups: [][]*models.Model{c.Parents}, Trials: trials, Seed: c.Seed,
		Names: Names{Parents: parentNames(c.Parents), Ensemble: "ensemble of the parents"},
		Line:  linePoints, Quick: c.Quick, Maps: shownMaps, Controls: true, Unfinished: c.unfinished()}
	if c.Choice.brief() {
		e.Line = briefPoints
	}
	e.Nodes = e.Main()
	if c.equalWidths() {
		e.Trials = slices.Concat(c.Choice.Baselines(), c.heads(), trials)
	}
	return e, nil
}

// unfinished is where trainings keep what they resume from.
func (c Comparison) unfinished() string { return filepath.Join(c.Out, "unfinished") }

// HeadAnchor is the label of the trial that every refitted model has to beat.
const HeadAnchor = "anchor, head refit"

// heads is the trial that fits the output layer of the anchor, where there is one.
func (c Comparison) heads() []Trial {
	if c.Parents[0].Graph.Head() == nil {
		return nil
	}
	return []Trial{{Label: HeadAnchor, Recipe: recipe.Recipe{Method: recipe.Head, Samples: c.Choice.Samples}}}
}

// canConcatenate reports whether the parents can lie side by side.
func (c Comparison) canConcatenate() bool {
	return c.equalWidths() && (fuse.Concatenation{}).Check(c.Parents[0], c.Parents[1:], nil) == nil
}

// equalWidths reports whether all parents have the widths of the anchor. There is no
// mean of others as they are.
func (c Comparison) equalWidths() bool {
	for _, m := range c.Parents {
		if !sameSize(m, c.Parents[0]) {
			return false
		}
	}
	return true
}

// Main is the label of the trial that is saved: the last that is shown, or the last of
// all where only baselines are shown.
func (e Experiment) Main() string {
	var out string
	for _, t := range e.Trials {
		if t.Shown && t.Recipe.Method != recipe.Vanilla {
			out = t.Label
		}
	}
	if out == "" && len(e.Trials) > 0 {
		out = e.Trials[len(e.Trials)-1].Label
	}
	return out
}

// Main is the label of the trial of an experiment that is saved: where only the story is
// told, parents side by side, where they can be.
func (c Comparison) Main(e Experiment) string {
	if c.Choice.brief() && slices.ContainsFunc(e.Trials, func(t Trial) bool { return t.Label == SideBySide }) {
		return SideBySide
	}
	return e.Main()
}

// Starts are the labels of the rows that are finetuned: the trials that are shown,
// then the baselines and the parents of the anchor's widths. Where only the story is
// told, they are the main trial and the anchor.
func (c Comparison) Starts(e Experiment) []string {
	if c.Choice.brief() {
		return []string{c.Main(e), e.Names.Parents[0]}
	}
	baselines := map[string]bool{}
	for _, t := range c.Choice.Baselines() {
		baselines[t.Label] = true
	}
	var fused, plain []string
	for _, t := range e.Trials {
		switch {
		case !t.Shown:
		case baselines[t.Label]:
			plain = append(plain, t.Label)
		default:
			fused = append(fused, t.Label)
		}
	}
	out := slices.Concat(fused, plain)
	for k, m := range c.Parents {
		if sameSize(m, c.Parents[0]) {
			out = append(out, e.Names.Parents[k])
		}
	}
	return out
}

// Saver returns an observer of [Run] that saves the models of some rows, by label,
// into directories of Out.
func (c Comparison) Saver(dirs map[string]string) func(*Outcome) error {
	return func(o *Outcome) error {
		if name, ok := dirs[o.Row.Label]; ok {
			return c.carded(o.Models[0]).Save(filepath.Join(c.Out, name))
		}
		return nil
	}
}

// carded returns a model with a card that names what all parents were trained on, where
// theirs do. Otherwise it would go on under that of the anchor alone.
func (c Comparison) carded(m *models.Model) *models.Model {
	var data []string
	for k, parent := range c.Parents {
		if d := report.TrainingData(parent); d != "" {
			data = append(data, fmt.Sprintf("%s: %s", parentNames(c.Parents)[k], d))
		}
	}
	if data == nil {
		return m
	}
	return withCard(m, strings.Join(data, "; "))
}

// Publish prints the table of what was found and writes the report, to read and to
// look at, and the plots of what there is.
func (c Comparison) Publish(e Experiment, found *report.Report) error {
	if len(found.Rows) == 0 {
		return nil
	}
	path := c.File
	if path == "" {
		path = filepath.Join(c.Out, report.JSONFile)
	}
	page := report.Page{Title: c.Title, Report: *found, Graph: c.Parents[0].Graph, Facts: c.facts(e, found)}
	if err := errors.Join(found.Write(path), page.WritePlots(c.Out),
		page.WriteFile(filepath.Join(c.Out, report.PageFile))); err != nil {
		return err
	}
	cli.Notice("wrote report.html, report.json, plots and checkpoints to %s", c.Out)
	if err := found.Print(os.Stdout); err != nil {
		return err
	}
	_, err := fmt.Fprintf(os.Stdout, "\n%s\n", c.Story(e, found))
	return err
}

// facts say what was fused and how.
func (c Comparison) facts(e Experiment, found *report.Report) []report.Fact {
	var out []report.Fact
	for k, m := range c.Parents {
		out = append(out, report.Describe(e.Names.Parents[k], m))
	}
	unit := c.Task.Unit()
	calibrated, quick := len(c.Task.First(c.Choice.Samples)), c.Task.Tests()
	if samples, _, err := c.Task.Quick(c.Quick); err == nil {
		quick = samples.Len()
	}
	out = append(out, report.Fact{Name: "calibrated on", Text: fmt.Sprintf("%d training %s, without their labels",
		calibrated, unit)},
		report.Fact{Name: "scored on", Text: fmt.Sprintf("%d test %s; curves on the first %d", c.Task.Tests(), unit, quick)})
	if len(found.Nodes) > 0 {
		out = append(out, report.Fact{Name: "flow graph and nodes", Text: e.Nodes})
	}
	return out
}
