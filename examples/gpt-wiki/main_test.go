package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/internal/testxla"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/safetensors"
)

func TestMain(m *testing.M) { testxla.Main(m) }

// smallText is a folder with a small text.
func smallText(t *testing.T) string {
	dir := t.TempDir()
	for name, lines := range map[string][]string{"train.txt": dataset.Encyclopedia(150, 1),
		"valid.txt": dataset.Encyclopedia(15, 2)} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")), 0o600))
	}
	return dir
}

// parsed parses flags that must be good.
func parsed(t *testing.T, args ...string) options {
	o, err := parse(args)
	require.NoError(t, err)
	return o
}

// small are the flags of a tiny parent.
func small(dir string, more ...string) []string {
	return append([]string{"-data", "folder", "-dir", dir, "-train", "-epochs", "0.3", "-width", "16", "-depth", "1",
		"-heads", "2", "-words", "150", "-length", "16"}, more...)
}

// trained trains a tiny parent by the program's own -train.
func trained(t *testing.T, dir string, seed int, more ...string) string {
	out := filepath.Join(t.TempDir(), "parent")
	o := parsed(t, small(dir, append([]string{"-out", out, "-seed", fmt.Sprint(seed)}, more...)...)...)
	require.NoError(t, trainParent(t.Context(), o))
	return out
}

// TestCompare: parents are trained, fused by all methods and finetuned; every row is
// reported with its perplexity, and what is saved opens.
func TestCompare(t *testing.T) {
	dir := smallText(t)
	a, b := trained(t, dir, 0), trained(t, dir, 1, "-half")
	require.NoFileExists(t, a+".training.safetensors", "what a finished training leaves")
	out := filepath.Join(t.TempDir(), "out")
	o := parsed(t, "-data", "folder", "-dir", dir, "-parents", a+","+b, "-out", out, "-epochs", "0.05", "-samples", "20",
		"-learn", "3", "-distil", "3", "-texts", "20", "-solver", "emd", "-say", "3")
	require.NoError(t, compare(t.Context(), o))

	raw, err := os.ReadFile(filepath.Join(out, "report.json"))
	require.NoError(t, err)
	var found report.Report
	require.NoError(t, json.Unmarshal(raw, &found))
	seen, labels := map[string]int{}, map[string]bool{}
	for _, r := range found.Rows {
		require.True(t, *r.Accuracy >= 0 && *r.Accuracy <= 1, r.Label)
		require.InDelta(t, math.Exp(*r.Loss), *r.Perplexity, 1e-9, r.Label)
		labels[r.Label] = true
		seen[fmt.Sprint(r.Method, " ", min(r.Finetuned, 1))]++
	}
	for _, want := range []string{"parent 0", "ensemble 0", "vanilla 0", "flow 0", "match 0", "learned 0", "parent 1",
		"vanilla 1", "flow 1", "match 1", "learned 1"} {
		require.Positive(t, seen[want], want)
	}
	for _, want := range []string{"matching, weights", "matching, untied, weights", "anchor shrunk, × 0.5",
		"anchor, distilled on the same samples", "learned matching, untied, labels, finetuned", "parent 1, finetuned"} {
		require.Contains(t, labels, want)
	}
	anchor, err := models.Open(a)
	require.NoError(t, err)
	for _, name := range []string{"fused", "finetuned"} {
		m, err := models.Open(filepath.Join(out, name))
		require.NoError(t, err)
		require.True(t, m.PredictsNext())
		card := string(m.Files[report.CardFile])
		require.Contains(t, card, "parent 0 (anchor): text of 001")
		require.Contains(t, card, "parent 1: text of 001")
		m.Files[report.CardFile] = anchor.Files[report.CardFile]
		require.Equal(t, anchor.Files, m.Files, "the tokenizer goes along")
	}
	other, err := models.Open(b)
	require.NoError(t, err)
	require.Equal(t, safetensors.F16, other.Params["transformer.wte.weight"].DType)
}

// TestCompress makes narrow networks of one parent, of both families: under rotary positions
// there are fewer heads, and tied words get a layer of their own.
func TestCompress(t *testing.T) {
	dir := smallText(t)
	for family, heads := range map[string]int{"gpt2": 4, "llama": 2} {
		t.Run(family, func(t *testing.T) {
			a := trained(t, dir, 0, "-family", family, "-heads", "4")
			out := filepath.Join(t.TempDir(), "out")
			o := parsed(t, "-data", "folder", "-dir", dir, "-parents", a, "-out", out, "-epochs", "0.05", "-samples", "20",
				"-texts", "20", "-say", "3", "-compress", "8")
			require.NoError(t, compare(t.Context(), o))
			raw, err := os.ReadFile(filepath.Join(out, "report.json"))
			require.NoError(t, err)
			var found report.Report
			require.NoError(t, json.Unmarshal(raw, &found))
			var rows []string
			for _, r := range found.Rows {
				rows = append(rows, fmt.Sprint(r.Method, " ", min(r.Finetuned, 1)))
			}
			require.Equal(t, []string{"parent 0", "drawn 0", "random 0", "match 0", "match 0", "drawn 1", "match 1",
				"drawn 1", "match 1"},
				rows)
			for _, name := range []string{"fused", "distilled", "finetuned"} {
				m, err := models.Open(filepath.Join(out, name))
				require.NoError(t, err)
				require.Equal(t, []int{8, heads}, []int{m.Dims().Width, m.Dims().Heads}, name)
			}
		})
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-bogus"}, {"-family", "t5"}, {"-method", "vanilla"}, {"-samples", "0"}, {"-epochs", "-1"}, {"-lr", "-1"},
		{"-texts", "0"}, {"-learn", "0"}, {"-words", "-1"}, {"-length", "1"}, {"-out", ""}, {"-say", "0"},
		{"-temperature", "-1"}, {"-batch", "-1"}, {"-compress", "-1"}, {"-compress", "8", "-train"}, {"stray"},
	} {
		_, err := parse(args)
		require.Error(t, err, args)
		require.NotContains(t, cli.OneLine(err), "\n", args)
	}
}

// TestBadInput: what is wrong is said before any work, and nothing is written.
func TestBadInput(t *testing.T) {
	dir := smallText(t)
	untrained := func(seed int, more ...string) string {
		o := parsed(t, small(dir, append(more, "-seed", fmt.Sprint(seed))...)...)
		p, err := o.parent(t.Context())
		require.NoError(t, err)
		out := filepath.Join(t.TempDir(), "parent")
		require.NoError(t, p.Model().Save(out))
		return out
	}
	a := untrained(0)
	bare := untrained(1)
	require.NoError(t, os.Remove(filepath.Join(bare, "tokenizer.json")))
	out := filepath.Join(t.TempDir(), "out")
	fusing := func(parents string) []string {
		return []string{"-data", "folder", "-dir", dir, "-out", out, "-parents", parents}
	}
	for want, args := range map[string][]string{
		"no parents are shipped":        {"-data", "folder", "-dir", dir, "-out", out},
		"want at least two":             fusing(a),
		"differs from that of parent 0": fusing(a + "," + untrained(1, "-words", "140")),
		"have neither tokenizer.json":   fusing(bare + "," + bare),
		"depth differs":                 fusing(a + "," + untrained(1, "-depth", "2")),
		"sequences of up to 12":         fusing(a + "," + untrained(1, "-length", "12")),
		"no text is called":             {"-data", "enwik8", "-out", out},
		"letters of the text":           small(dir, "-out", out+"1", "-words", "20"),
		"is not replaced":               small(dir, "-out", dir),
	} {
		o := parsed(t, args...)
		run := compare
		if o.train {
			run = trainParent
		}
		err := run(t.Context(), o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, cli.OneLine(err), "\n", want)
		left, err := filepath.Glob(out + "*/*")
		require.NoError(t, err)
		require.Empty(t, left, want)
	}
}

// TestShipped: both pairs bring the tokenizer that is learned from their text, and
// have learned from that text.
func TestShipped(t *testing.T) {
	device, err := gomlx.Open(t.Context(), func(p models.Progress) { t.Log(p.Item) })
	require.NoError(t, err)
	defer device.Close()
	tokenizer, err := dataset.TrainPairs(dataset.Encyclopedia(20_000, 1), 512)
	require.NoError(t, err)
	for family := range families() {
		text, parents, err := parsed(t, "-family", family, "-texts", "32").open(t.Context())
		require.NoError(t, err)
		for k, m := range parents {
			require.Equal(t, string(tokenizer), string(m.Files["tokenizer.json"]), "%s, parent %d", family, k)
			s, err := text.Score(t.Context(), device, m)
			require.NoError(t, err)
			require.Less(t, s.Loss, 1.2, "%s, parent %d", family, k) // nats
		}
	}
}
