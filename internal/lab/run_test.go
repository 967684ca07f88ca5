package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// pair are two networks of a task that have learned nothing.
func pair(t *testing.T, task Task, net func(seed uint64) Net) []*models.Model {
	var out []*models.Model
	for seed := range uint64(2) {
		m, err := task.Network(net(seed))
		require.NoError(t, err)
		out = append(out, m)
	}
	require.NoError(t, task.Accept(out))
	return out
}

// comparison is that of a pair by few samples.
func comparison(t *testing.T, task Task, net func(seed uint64) Net) Comparison {
	c := Comparison{Task: task, Parents: pair(t, task, net), Quick: 10, Title: "a pair", Out: t.TempDir(),
		Choice: Choice{Method: "all", Aligner: "units", Solver: "emd", Residual: "average", Samples: 12, Learn: 2, Distil: 2,
			Batch: 6, Mixed: true}}
	if _, ok := task.(*Text); ok {
		c.Choice.Tokens, c.Choice.Mixed = "all", false
	}
	return c
}

// TestComparison runs the experiment of the example programs, on images and on
// text: every row, line, tuning and file is there, and the same again is the same.
func TestComparison(t *testing.T) {
	d := openDevice(t)
	for _, c := range []Comparison{comparison(t, fewImages(t), tinyImageNet), comparison(t, fewTexts(), tinyTextNet)} {
		e, err := c.Experiment()
		require.NoError(t, err)
		e.Line = 3
		require.Equal(t, "learned matching, labels", e.Main())
		tune := Tuning{Of: c.Starts(e), Suffix: ", finetuned", Batches: TuneBatches(c.Task, 8, c.Seed).At, Size: 8, Points: 2,
			Config: gomlx.TrainConfig{Steps: 2, LR: 1e-3}}
		distil := tune
		distil.Of, distil.Suffix, distil.Teachers = tune.Of[:1], ", distilled", c.Parents
		if c.canConcatenate() { // whose heads are other ones than those of the model after it
			distil.Of = append([]string{SideBySide}, distil.Of...)
		}
		e.Tune = []Tuning{tune, distil}
		found, err := Run(t.Context(), d, e, c.Saver(map[string]string{e.Main(): "fused"}))
		require.NoError(t, err)
		require.NoError(t, c.Publish(e, found))
		checkComparison(t, c, e, found)

		e.Trials, e.Tune = e.Trials[:3], nil
		again, err := Run(t.Context(), d, e, func(*Outcome) error { return nil })
		require.NoError(t, err)
		for k, r := range again.Rows {
			require.Equal(t, found.Rows[k].Accuracy, r.Accuracy, r.Label)
			require.Equal(t, found.Rows[k].Loss, r.Loss, r.Label)
		}
	}
}

func checkComparison(t *testing.T, c Comparison, _ Experiment, found *report.Report) {
	unit, n := c.Task.Unit(), len(c.Task.First(12))
	var rows []string
	seen := map[string]string{}
	for _, r := range found.Rows {
		rows = append(rows, fmt.Sprint(r.Method, " ", r.Finetuned))
		seen[r.Label] = r.Seen
	}
	if c.Parents[0].Graph.Head() != nil {
		require.Equal(t, "head 0", rows[6])
		rows = slices.Delete(rows, 6, 7)
	}
	if last := len(rows) - 2; c.canConcatenate() {
		require.Equal(t, "concatenate 2", rows[last])
		rows = slices.Delete(rows, last, last+1)
	}
	require.Equal(t, []string{"parent 0", "parent 0", "ensemble 0", "shrunk 0", "vanilla 0", "vanilla 0", "flow 0",
		"flow 0", "flow 0", "flow 0", "match 0", "match 0", "match 0", "match 0", "learned 0", "learned 0",
		"concatenate 0", "concatenate 0", "distil 0",
		"distil 0", "match 0", "flow 2", "match 2", "learned 2", "vanilla 2", "parent 2", "parent 2", "flow 2"}, rows)
	require.Empty(t, seen["vanilla fusion"])
	require.Equal(t, fmt.Sprintf("%d %s", n, unit), seen["vanilla fusion, refit"])
	require.Empty(t, seen["matching, weights"])
	require.Equal(t, fmt.Sprintf("%d %s; 2 updates of 6 with labels; 2 updates of 8 with labels", n, unit),
		seen["learned matching, labels, finetuned"])
	require.Equal(t, fmt.Sprintf("%d %s; 2 updates of 6 of them", n, unit), seen["learned matching, no labels"])
	require.Equal(t, fmt.Sprintf("%d %s; 2 updates of 6 of them", n, unit), seen[DistilledAnchor])
	require.Equal(t, fmt.Sprintf("%d %s; 2 updates of 8 without labels", n, unit),
		seen["transport fusion, activations, emd, refit, distilled"])

	lines, tunings := 0, 0
	for _, curve := range found.Curves {
		require.Len(t, curve.Points, 3, curve.Label)
		switch curve.Along {
		case report.AlongLine:
			lines++
			require.NotNil(t, curve.Barrier, curve.Label)
		case report.AlongUpdates:
			tunings++
			require.Nil(t, curve.Barrier, curve.Label)
		}
	}
	if c.canConcatenate() {
		tunings--
	}
	require.Equal(t, []int{4, 7}, []int{lines, tunings})
	require.Len(t, found.Nodes, len(c.Parents[0].Graph.Nodes), "of the main trial")
	require.NotEmpty(t, found.Maps)
	for _, name := range []string{"fused/config.json", "report.json", "report.html", "line-loss.svg",
		"finetuning-accuracy.svg"} {
		require.FileExists(t, filepath.Join(c.Out, name))
	}
}

// TestPinned: parents whose stream has a fixed basis are not laid side by side, and every
// trial that is left is one.
func TestPinned(t *testing.T) {
	c := comparison(t, fewImages(t), func(seed uint64) Net {
		n := tinyImageNet(seed)
		n.Class = models.SimpleViT().Class
		return n
	})
	e, err := c.Experiment()
	require.NoError(t, err)
	for _, trial := range e.Trials {
		require.NotEmpty(t, trial.Label)
		require.NotEqual(t, recipe.Concatenate, trial.Recipe.Method)
	}
}

// TestUnequalWidths: there is no mean of unequal widths, and only parents of the
// anchor's widths are finetuned.
func TestUnequalWidths(t *testing.T) {
	c := comparison(t, fewImages(t), func(seed uint64) Net {
		n := tinyImageNet(seed)
		n.Width += 4 * int(seed)
		return n
	})
	e, err := c.Experiment()
	require.NoError(t, err)
	require.Equal(t, recipe.Flow, e.Trials[0].Recipe.Method)
	require.Equal(t, []string{"transport fusion, activations, emd, refit", "matching, activations, refit",
		"learned matching, labels", "parent 0 (anchor)"}, c.Starts(e))
}

// TestGroupsAndDraws: rows are means over groups of parents, or over draws of
// samples where a recipe looks at samples.
func TestGroupsAndDraws(t *testing.T) {
	d, images := openDevice(t), fewImages(t)
	first := pair(t, images, tinyImageNet)
	second := pair(t, images, func(seed uint64) Net { return tinyImageNet(seed + 2) })
	e := Experiment{Task: images, Groups: [][]*models.Model{first, second},
		Names: Names{Parents: []string{"a", "b"}, Ensemble: "both"},
		Trials: []Trial{{Label: "mean", Recipe: recipe.Recipe{Method: recipe.Vanilla}, Shown: true},
			{Label: "flow", Recipe: recipe.Recipe{Solver: "emd", Samples: 6}}},
		Draws: 3, Line: 3}
	run := func() map[string]Outcome {
		out := map[string]Outcome{}
		_, err := Run(t.Context(), d, e, func(o *Outcome) error { out[o.Row.Label] = *o; return nil })
		require.NoError(t, err)
		return out
	}
	groups := run()
	for label, o := range groups {
		require.Len(t, o.Scores, 2, label)
		require.InDelta(t, (o.Scores[0].Loss+o.Scores[1].Loss)/2, *o.Row.Loss, 1e-12)
	}
	require.Len(t, groups["mean"].Lines, 2)
	for k, line := range groups["mean"].Lines {
		require.Equal(t, groups["a"].Scores[k].Loss, line[0].Loss, "a line begins at the anchor")
		require.Equal(t, groups["mean"].Scores[k].Loss, line[1].Loss, "the mean is half way")
		require.Equal(t, groups["b"].Scores[k].Loss, line[2].Loss, "what is not aligned stays")
	}
	require.Empty(t, groups["flow"].Lines)
	e.Groups = e.Groups[:1]
	draws := run()
	require.Len(t, draws["mean"].Scores, 1)
	require.Len(t, draws["flow"].Scores, 3)
	require.NotEqual(t, draws["flow"].Scores[0], draws["flow"].Scores[1])
	require.Equal(t, groups["flow"].Scores[0], draws["flow"].Scores[0], "the first draw is that of the first group")
}

// TestRunStops: what was found until something failed is returned.
func TestRunStops(t *testing.T) {
	d, images := openDevice(t), fewImages(t)
	full := errors.New("disk full")
	e := Experiment{Task: images, Groups: [][]*models.Model{pair(t, images, tinyImageNet)},
		Names:  Names{Parents: []string{"a", "b"}, Ensemble: "both"},
		Trials: []Trial{{Label: "mean", Recipe: recipe.Recipe{Method: recipe.Vanilla}}}}
	found, err := Run(t.Context(), d, e, func(o *Outcome) error {
		if o.Row.Label == "mean" {
			return full
		}
		return nil
	})
	require.ErrorIs(t, err, full)
	require.ErrorContains(t, err, "mean: ")
	require.Len(t, found.Rows, 3)
	e.Trials[0].Recipe.Method = "magic"
	_, err = Run(t.Context(), d, e, func(*Outcome) error { return nil })
	require.ErrorContains(t, err, "allowed are flow")
	e.Trials, e.Tune = nil, []Tuning{{Of: []string{"c"}}}
	_, err = Run(t.Context(), d, e, func(*Outcome) error { return nil })
	require.ErrorContains(t, err, `no row "c"`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	found, err = Run(ctx, d, e, func(*Outcome) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, found.Rows)
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Comparison{Out: out}.Publish(e, found), "nothing is published of nothing")
	_, err = os.Stat(out)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestSentences finetunes networks on a text to classify sentences.
func TestSentences(t *testing.T) {
	d, words := openDevice(t), fewTexts()
	parents := pair(t, words, tinyTextNet)
	dir := t.TempDir()
	table := "sentence\tlabel\n"
	for k := range 10 {
		table += fmt.Sprintf("a river in the north\t%d\nthe bird of the town\t%d\n", k%2, 1-k%2)
	}
	for _, name := range []string{"train.tsv", "dev.tsv"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(table), 0o600))
	}
	s, err := OpenSentences(dir, words)
	require.NoError(t, err)
	tune := Tuning{Of: []string{"a"}, Suffix: " tuned", Batches: s.Batches(4, 0).At, Size: 4,
		Config:  gomlx.TrainConfig{Steps: 2, LR: 1e-3},
		Prepare: s.Classifier(0), Score: s.Score}
	e := Experiment{Task: words, Groups: [][]*models.Model{parents},
		Names: Names{Parents: []string{"a", "b"}, Ensemble: "both"}, Tune: []Tuning{tune}}
	var last Outcome
	found, err := Run(t.Context(), d, e, func(o *Outcome) error { last = *o; return nil })
	require.NoError(t, err)
	require.Equal(t, "a tuned", found.Rows[3].Label)
	require.Equal(t, models.BERTForClassification().Class, last.Models[0].Arch.Class)
	require.Equal(t, 20, last.Scores[0].Count)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "train.tsv"), []byte("sentence\tlabel\na river\t1\n"), 0o600))
	_, err = OpenSentences(dir, words)
	require.ErrorContains(t, err, `the label "1" alone`)
	_, err = OpenSentences(t.TempDir(), words)
	require.ErrorContains(t, err, "train.tsv")
}
