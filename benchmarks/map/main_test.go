package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/internal/testxla"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/text"
)

func TestMain(m *testing.M) { testxla.MainInGo(m) }

// tiny is a bench over few drawn images.
func tiny(t *testing.T, args ...string) *bench {
	o, err := parse(append([]string{"-out", t.TempDir(), "-archs", "vit", "-widths", "8", "-likeness", "80/20", "-samples",
		"0,12", "-budgets", "0,1", "-pairs", "1", "-epochs", "0.5", "-data", "shapes"}, args...))
	require.NoError(t, err)
	d, err := gomlx.Open(context.Background(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	images := &lab.Images{Train: dataset.Shapes(260, 1), Test: dataset.Shapes(40, 2), Name: "shapes", Label: "few shapes"}
	images.Norm, err = images.Train.Norm()
	require.NoError(t, err)
	return &bench{options: o, device: d, images: images}
}

// TestItems: every item of a small map is worked on once, whoever does it, and the page
// shows it beside its controls.
func TestItems(t *testing.T) {
	b := tiny(t)
	cells := b.axes.cells()
	require.Len(t, cells, 3, "no training without samples")
	for _, c := range cells {
		require.NoError(t, b.cell(t.Context(), c))
	}
	raw, err := os.ReadFile(b.file(cells[2]))
	require.NoError(t, err)
	var r result
	require.NoError(t, json.Unmarshal(raw, &r))
	require.Equal(t, cells[2], r.cell)
	require.Equal(t, updatesPerSecond, r.Updates)
	require.Len(t, r.Rows, 10)
	for _, row := range r.Rows {
		require.Greater(t, row.Loss, 0., row.Name)
	}
	card, err := os.ReadFile(filepath.Join(b.out, "parents", parent{cells[0].pair, 1}.String(), "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(card), "part 2 of 2 at skew 0.6")

	require.NoError(t, os.WriteFile(b.file(cells[2]), raw, 0o600))
	before, err := os.Stat(b.file(cells[2]))
	require.NoError(t, err)
	require.NoError(t, b.cell(t.Context(), cells[2]))
	after, err := os.Stat(b.file(cells[2]))
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime(), "what is done is left")

	r.Rows = append(r.Rows[:1], r.Rows[2:]...)
	r.Rows[0].Accuracy = 0.125
	require.NoError(t, report.WriteJSON(b.file(cells[2]), r))
	require.NoError(t, b.cell(t.Context(), cells[2]))
	var again result
	require.NoError(t, report.ReadJSON(b.file(cells[2]), &again))
	require.Len(t, again.Rows, 10, "what is missing is tried")
	require.Equal(t, r.Rows, again.Rows[:9], "and nothing else")

	var page bytes.Buffer
	require.NoError(t, b.printTable(&page))
	require.Equal(t, 3, strings.Count(page.String(), "| vit, 8 |"))
	require.Contains(t, page.String(), "few shapes, 40 test samples")
	require.Contains(t, page.String(), "finetuned")
}

// TestArchitectures: the parents of every architecture are trained on parts of the data
// and fused.
func TestArchitectures(t *testing.T) {
	b := tiny(t, "-samples", "6", "-budgets", "0", "-archs", "simplevit,bert,gpt2,llama", "-epochs", "0.02")
	b.prose = &lab.Corpus{Name: "few", Label: "a short encyclopedia", Corpus: text.Corpus{
		Train: dataset.Encyclopedia(40, 1), Test: dataset.Encyclopedia(4, 2)}}
	for _, c := range b.axes.cells() {
		require.NoError(t, b.cell(t.Context(), c), c.String())
	}
	var page bytes.Buffer
	require.NoError(t, b.printTable(&page))
	require.Contains(t, page.String(), "few shapes, 40 test samples")
	require.Contains(t, page.String(), "a short encyclopedia, ")
	require.Equal(t, 2, strings.Count(page.String(), "test samples"), "a table for each data set")
}

// TestTable: ways are compared pair by pair, and a gain counts where it is above the
// noise.
func TestTable(t *testing.T) {
	of := func(pairIndex, budget int, rows ...row) result {
		c := cell{pair{"vit", 64, same, pairIndex}, 50, budget, 0}
		return result{cell: c, Tests: 10_000, Rows: rows}
	}
	at := func(name string, k kind, accuracy float64) row {
		return row{way: way{Name: name, Kind: k}, Accuracy: accuracy}
	}
	regions, all := gathered([]result{
		of(0, 0, at("parent 0", control, 0.50), at("parent 1", control, 0.40), at("matching", fused, 0.60)),
		of(1, 0, at("parent 0", control, 0.40), at("parent 1", control, 0.52), at("matching", fused, 0.61)),
		of(0, 1, at("parent, distilled", control, 0.59), at("learned", fused, 0.55)),
		of(1, 1, at("parent, distilled", control, 0.62), at("learned", fused, 0.55)),
	})
	require.Len(t, regions, 2)
	l := all.line(regions[0], 10_000)
	require.Equal(t, "**+9.5 ± 0.7**", l.gain)
	require.Equal(t, "matching 60.5 ± 0.7", l.fused)
	require.Equal(t, "better parent 51.0 ± 1.4", l.control, "whichever it is of a pair")
	require.Equal(t, "45.0 ± 7.1, 46.0 ± 8.5", l.parents)
	l = all.line(regions[1], 10_000)
	require.Equal(t, "parent, distilled 60.5 ± 2.1", l.control)
	require.Equal(t, "matching 60.5 ± 0.7", l.fused, "a cheaper way counts too")
	require.Equal(t, "+0.0 ± 1.4", l.gain)
	_, more := gathered([]result{
		of(0, 0, at("parent 0", control, 0.50), at("matching", fused, 0.60)), of(1, 0, at("parent 0", control, 0.1)),
		of(0, 1, at("parent, distilled", control, 0.4))})
	require.Equal(t, "better parent 50.0", more.of(regions[1]).line(regions[1], 10_000).control,
		"of the pairs of the region")
	require.InDelta(t, 0.01, standardError(0, 1, 5000), 1e-9)
	require.InDelta(t, 0.02, standardError(0.04, 4, 5000), 1e-9)
}

func TestParse(t *testing.T) {
	o, err := parse(nil)
	require.NoError(t, err)
	require.Len(t, o.axes.cells(), 3*5*3*3*17, "pairs, architectures, widths, likenesses; samples and budgets")
	require.Len(t, o.axes.parents(), 2*3*5*3*3)
	names := map[string]bool{}
	for _, c := range o.axes.cells() {
		names[c.String()] = true
	}
	require.Len(t, names, len(o.axes.cells()), "every item has a file of its own")
	require.Equal(t, lab.Split{}, parent{pair{"vit", 64, same, 1}, 1}.split())
	require.Equal(t, lab.Split{Part: 2, Parts: 2, Skew: 0.9, Seed: 1}, parent{pair{"vit", 64, "95/5", 1}, 1}.split())
	for want, args := range map[string][]string{
		"-archs has":        {"-archs", "cnn"},
		"-likeness has":     {"-likeness", "70/30"},
		"-widths":           {"-widths", "0"},
		"is no number":      {"-samples", "x"},
		"unexpected":        {"stray"},
		"must be above 0":   {"-epochs", "-1"},
		"-samples at least": {"-samples", "-2"},
	} {
		_, err := parse(args)
		require.ErrorContains(t, err, want)
	}
	o.out = t.TempDir()
	require.ErrorContains(t, o.printTable(&bytes.Buffer{}), "there are no results")
}
