package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/ot"
)

// TestJSON: the keys of report.json are the contract of every program.
func TestJSON(t *testing.T) {
	r := Report{Data: "shapes", Backend: "cpu"}
	r.AddNodes(&fuse.Report{Nodes: []fuse.NodeReport{
		{Name: "a", Flow: graph.Solve, Cost: 0.5, Entropy: 0.25, Diagonal: 0.75, Seconds: 2},
		{Source: 1, Name: "b", Flow: graph.Carry, Warning: &ot.NotConvergedError{Iterations: 7, Residual: 0.125}},
	}})
	row := Row{Method: Parent, Label: "parent 0"}
	row.Score(gomlx.Score{Accuracy: 0.5, Loss: 2})
	r.Add(row)
	r.Add(Row{Method: "flow", Options: map[string]string{"solver": "emd"}, Finetuned: 3, Seconds: 1.5, Seen: "all"})
	path := filepath.Join(t.TempDir(), "report.json")
	require.NoError(t, r.Write(path))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.JSONEq(t, `{"data": "shapes", "backend": "cpu", "rows": [
		{"method": "parent", "label": "parent 0", "options": {}, "finetuned_steps": 0,
			"accuracy": 0.5, "loss": 2, "seconds": 0},
		{"method": "flow", "options": {"solver": "emd"}, "finetuned_steps": 3, "seconds": 1.5, "seen": "all"}
	], "nodes": [
		{"source": 0, "name": "a", "flow": "solve", "cost": 0.5, "entropy": 0.25, "diagonal": 0.75, "kept": 1,
			"seconds": 2, "converged": true},
		{"source": 1, "name": "b", "flow": "carry", "cost": 0, "entropy": 0, "diagonal": 0, "kept": 1,
			"seconds": 0, "converged": false, "residual": 0.125}
	]}`, string(text))

	require.NoError(t, (&Report{}).Write(path))
	text, err = os.ReadFile(path)
	require.NoError(t, err)
	var keys map[string]any
	require.NoError(t, json.Unmarshal(text, &keys))
	require.Equal(t, []any{}, keys["nodes"], "nodes is a list even where nothing was fused")
}

// TestPrint: a table shows the columns that the rows have.
func TestPrint(t *testing.T) {
	accuracy, loss, nan, pseudo := 0.5, 2., math.NaN(), 7.
	r := Report{Rows: []Row{{Method: "flow", Accuracy: &accuracy, Loss: &loss},
		{Method: "flow", Label: "other", Finetuned: 3, Loss: &nan, Seconds: 1.25}}}
	var text bytes.Buffer
	require.NoError(t, r.Print(&text))
	require.Equal(t, "model  finetuned  accuracy  loss   seconds\nflow   0          50.00 %   2.000  0.0\nother  3       "+
		"   -         -      1.2\n", text.String())
	r.Rows[0].Pseudo, r.Rows[0].Seen = &pseudo, "20 images"
	text.Reset()
	require.NoError(t, r.Print(&text))
	require.Contains(t, text.String(), "pseudo-perplexity  seconds  seen\n")
	require.Contains(t, text.String(), "7.00               0.0      20 images\n")
	require.Contains(t, text.String(), "-                  1.2      \n")
}

// TestMarkdown: columns that say nothing are left out.
func TestMarkdown(t *testing.T) {
	table := Tabulate([]int{1, 2}, []Column[int]{
		{"n", func(n int) string { return string(rune('0' + n)) }},
		{"nothing", func(int) string { return "" }},
		{"even", func(n int) string { return []string{"yes", ""}[n%2] }},
	})
	var text bytes.Buffer
	require.NoError(t, table.Markdown(&text))
	require.Equal(t, "| n | even |\n|---|---|\n| 1 |  |\n| 2 | yes |\n", text.String())
}

// TestProblemsAreNamed: what was measured is what the table says, and numbers have no
// accuracy.
func TestProblemsAreNamed(t *testing.T) {
	for kind, want := range map[string][2]string{models.Regression: {"mean squared error", "-"},
		models.MultiLabel: {"accuracy per class", "50.00 %"}, models.SingleLabel: {"accuracy", "50.00 %"}} {
		var row Row
		row.Score(gomlx.Score{Accuracy: 0.5, Loss: 2, Problem: kind})
		r := Report{Rows: []Row{row}}
		var text strings.Builder
		require.NoError(t, r.Print(&text))
		require.Contains(t, text.String(), want[0])
		require.Contains(t, text.String(), want[1])
		require.Equal(t, kind == models.Regression, row.Accuracy == nil)
	}
}
