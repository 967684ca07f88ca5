package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/models"
)

// TestDistil: a model is distilled from the anchor, which needs no alignment and has no
// nodes to report, and from a matched model; rows say from where.
func TestDistil(t *testing.T) {
	a, b := parent(t, 1, tiny()), parent(t, 2, tiny())
	for _, data := range []string{samples(t, 7), pixels(t, 7, 3, 8, 8)} {
		for text, nodes := range map[string]int{`{"method":"distil","steps":3,"batch":4}`: 0,
			`{"method":"distil","steps":3,"batch":4,"held_out":0,"start":{"method":"learned","steps":2,"batch":2}}`: 1} {
			out, rep := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "report.json")
			require.NoError(t, program(t, "-out", out, "-config", config(t, text), "-calib", data, "-report", rep, a, b))
			anchor, err := models.Open(a)
			require.NoError(t, err)
			fused, err := models.Open(out)
			require.NoError(t, err)
			require.Equal(t, anchor.Params.Shapes(), fused.Params.Shapes())
			require.NotEqual(t, anchor.Params["classifier.weight"].Data, fused.Params["classifier.weight"].Data)
			report := readReport(t, rep)
			require.Len(t, report.Nodes, nodes*len(anchor.Graph.Nodes))
			require.Equal(t, "distil", report.Rows[3].Method)
			require.Equal(t, nodes == 1, report.Rows[3].Options.(map[string]any)["start"] != nil)
		}
	}
}

// TestControls: what costs as much without fusing is scored before the fused model.
func TestControls(t *testing.T) {
	a, b, data := parent(t, 1, tiny()), parent(t, 2, tiny()), samples(t, 7)
	for text, want := range map[string][]string{
		`{"method":"vanilla"}`:                                    {"shrunk", "head", "distil", "vanilla"},
		`{"method":"match","refit":0.1,"weights":[0.25,0.75]}`:    {"shrunk", "match", "head", "distil", "match"},
		`{"method":"distil","steps":2,"batch":4}`:                 {"shrunk", "head", "distil"},
		`{"method":"distil","steps":2,"start":{"method":"flow"}}`: {"shrunk", "flow", "head", "distil", "distil"},
	} {
		rep, out := filepath.Join(t.TempDir(), "report.json"), filepath.Join(t.TempDir(), "out")
		require.NoError(t, program(t, "-out", out, "-config", config(t, text), "-calib", data, "-eval", data, "-report", rep,
			"-controls", a, b))
		report := readReport(t, rep)
		var methods []string
		for _, r := range report.Rows[3:] {
			methods = append(methods, r.Method)
			require.NotNil(t, r.Accuracy, r.Label)
		}
		require.Equal(t, want, methods, text)
	}
}

// TestBest: where the recipe leaves the method open, the row names the one that was found
// better, and its options make the same model again.
func TestBest(t *testing.T) {
	a, b, data := parent(t, 1, tiny()), parent(t, 2, tiny()), samples(t, 7)
	for name, args := range map[string][]string{
		"weights": {a, b},
		"copies":  {a, a},
		"samples": {"-calib", data, a, b},
	} {
		dir := t.TempDir()
		rep, out, again := filepath.Join(dir, "report.json"), filepath.Join(dir, "out"), filepath.Join(dir, "again")
		flags := []string{"-out", out, "-config", config(t, `{"method":"best"}`), "-report", rep}
		if name == "samples" {
			flags = append(flags, "-controls", "-eval", data)
		}
		require.NoError(t, program(t, append(flags, args...)...), name)
		rows := readReport(t, rep).Rows
		row := rows[len(rows)-1]
		chosen := map[string][]string{"weights": {recipe.Concatenate}, "copies": {recipe.Match}}[name]
		if chosen == nil {
			chosen = []string{recipe.Match, recipe.Concatenate}
		}
		require.Contains(t, chosen, row.Method, name)
		options, err := json.Marshal(row.Options)
		require.NoError(t, err)
		require.NoError(t, program(t, append([]string{"-out", again, "-config", config(t, string(options))}, args...)...))
		want, err := models.Open(out)
		require.NoError(t, err)
		got, err := models.Open(again)
		require.NoError(t, err)
		require.Equal(t, want.Params, got.Params, name)
	}
}
