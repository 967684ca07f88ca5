package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/safetensors"
)

// write writes files into a folder.
func write(t *testing.T, dir string, files map[string]string) string {
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

// texts is a folder with a small text.
func smallText(t *testing.T) string {
	return write(t, t.TempDir(), map[string]string{
		"train.txt": strings.Join(dataset.Encyclopedia(150, 1), "\n"), "valid.txt": strings.Join(dataset.Encyclopedia(15, 2),
			"\n")})
}

// parse1 parses flags that must be good.
func parse1(t *testing.T, args ...string) options {
	o, err := parse(args)
	require.NoError(t, err)
	return o
}

// small are the flags of a tiny parent.
func small(dir string, more ...string) []string {
	return append([]string{"-data", "folder", "-dir", dir, "-train", "-epochs", "1", "-width", "16", "-depth", "1",
		"-heads", "2",
		"-words", "200", "-length", "16"}, more...)
}

// trained trains a tiny parent by the program's own -train.
func trained(t *testing.T, dir string, seed int, more ...string) string {
	out := filepath.Join(t.TempDir(), "parent")
	o := parse1(t, small(dir, append([]string{"-out", out, "-seed", fmt.Sprint(seed)}, more...)...)...)
	require.NoError(t, trainParent(context.Background(), o))
	return out
}

// untrained saves a tiny parent that has learned nothing.
func untrained(t *testing.T, dir string, seed int, more ...string) string {
	o := parse1(t, small(dir, append(more, "-seed", fmt.Sprint(seed))...)...)
	p, err := o.parent(context.Background())
	require.NoError(t, err)
	m := p.Model()
	out := filepath.Join(t.TempDir(), "parent")
	require.NoError(t, m.Save(out))
	return out
}

func readReport(t *testing.T, path string) (report report.Report, rows []string) {
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &report))
	for _, r := range report.Rows {
		rows = append(rows, fmt.Sprint(r.Method, " ", r.Finetuned))
		require.True(t, *r.Accuracy >= 0 && *r.Accuracy <= 1, r.Label)
		require.Greater(t, *r.Loss, 0., r.Label)
	}
	return report, rows
}

func TestCompare(t *testing.T) {
	dir := smallText(t)
	a, b := trained(t, dir, 0), trained(t, dir, 1, "-half")
	require.NoFileExists(t, a+".training.safetensors", "what a finished training leaves")
	require.FileExists(t, filepath.Join(a, "vocab.txt"))
	out := filepath.Join(t.TempDir(), "out")
	o := parse1(t, "-data", "folder", "-dir", dir, "-parents", a+","+b, "-out", out, "-epochs", "0.1", "-samples", "20",
		"-learn", "3", "-distil", "2", "-texts", "20")
	require.NoError(t, compare(context.Background(), o))

	written, rows := readReport(t, filepath.Join(out, "report.json"))
	steps := written.Rows[len(rows)-1].Finetuned
	require.Positive(t, steps)
	want := []string{"parent 0", "parent 0", "ensemble 0", "shrunk 0", "vanilla 0", "vanilla 0", "flow 0", "flow 0",
		"flow 0", "flow 0", "flow 0", "flow 0",
		"match 0", "match 0", "match 0", "match 0", "learned 0", "learned 0", "concatenate 0", "concatenate 0",
		"distil 0", "distil 0", "match 0"}
	for _, method := range []string{"flow", "match", "learned", "vanilla", "parent", "parent"} {
		want = append(want, fmt.Sprint(method, " ", steps))
	}
	require.Equal(t, want, rows)
	for _, r := range written.Rows {
		require.Greater(t, *r.Pseudo, 1., r.Label)
	}
	require.NotEmpty(t, written.Nodes)
	require.Len(t, written.Curves, 4+6, "lines and trainings")
	for _, c := range written.Curves {
		require.Equal(t, 0., c.Points[0].X)
		require.Greater(t, c.Points[0].Loss, 0.)
	}
	for _, name := range []string{"line-accuracy.svg", "line-loss.svg", "finetuning-accuracy.svg", "finetuning-loss.svg"} {
		plot, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		require.NoError(t, xml.Unmarshal(plot, new(struct{})), name)
	}
	anchor, err := models.Open(a)
	require.NoError(t, err)
	for _, name := range []string{"fused", "finetuned"} {
		m, err := models.Open(filepath.Join(out, name))
		require.NoError(t, err)
		require.Equal(t, anchor.Params.Shapes(), m.Params.Shapes())
		card := string(m.Files[report.CardFile])
		require.Contains(t, card, "parent 0 (anchor): text of 001")
		require.Contains(t, card, "parent 1: text of 001")
		m.Files[report.CardFile] = anchor.Files[report.CardFile]
		require.Equal(t, anchor.Files, m.Files, "the vocabulary goes along")
	}
	other, err := models.Open(b)
	require.NoError(t, err)
	require.Equal(t, safetensors.F16, other.Params["cls.predictions.bias"].DType)
}

// TestCompress makes narrow networks of one parent.
func TestCompress(t *testing.T) {
	dir := smallText(t)
	out := filepath.Join(t.TempDir(), "out")
	o := parse1(t, "-data", "folder", "-dir", dir, "-parents", untrained(t, dir, 0), "-out", out, "-epochs", "0.1",
		"-samples", "20", "-texts", "20", "-compress", "8")
	require.NoError(t, compare(t.Context(), o))
	written, rows := readReport(t, filepath.Join(out, "report.json"))
	steps := written.Rows[len(rows)-1].Finetuned
	want := []string{"parent 0", "drawn 0", "random 0", "match 0", "match 0"}
	for _, method := range []string{"drawn", "match", "drawn", "match"} {
		want = append(want, fmt.Sprint(method, " ", steps))
	}
	require.Equal(t, want, rows)
	require.Len(t, written.Curves, 4)
	for _, name := range []string{"fused", "distilled", "finetuned"} {
		m, err := models.Open(filepath.Join(out, name))
		require.NoError(t, err)
		require.Equal(t, 8, m.Dims().Width, name)
	}
}

// TestGLUE finetunes parents and fusions to tell birds from towns.
func TestGLUE(t *testing.T) {
	dir := smallText(t)
	a, b := untrained(t, dir, 0), untrained(t, dir, 1)
	tables := map[string]string{}
	for name, seed := range map[string]uint64{"train.tsv": 3, "dev.tsv": 4} {
		lines := []string{"sentence\tlabel"}
		for _, p := range dataset.Encyclopedia(400, seed) {
			for label, word := range []string{" bird ", " town "} {
				if s, _, _ := strings.Cut(p, "."); strings.Contains(s, word) {
					lines = append(lines, fmt.Sprintf("%s\t%d", s, label))
				}
			}
		}
		tables[name] = strings.Join(lines, "\n") + "\n"
	}
	out := filepath.Join(t.TempDir(), "out")
	o := parse1(t, "-data", "folder", "-dir", dir, "-parents", a+","+b, "-out", out, "-glue",
		write(t, t.TempDir(), tables), "-method", "flow",
		"-solver", "emd", "-samples", "20", "-distil", "2", "-epochs", "20", "-lr", "1e-2")
	require.NoError(t, compare(context.Background(), o))
	report, rows := readReport(t, filepath.Join(out, "report.json"))
	steps := report.Rows[len(rows)-1].Finetuned
	want := []string{"parent 0", "parent 0", "ensemble 0", "shrunk 0", "vanilla 0", "vanilla 0", "flow 0", "flow 0",
		"flow 0", "flow 0", "distil 0"}
	for _, method := range []string{"flow", "vanilla", "parent", "parent"} {
		want = append(want, fmt.Sprint(method, " ", steps))
	}
	require.Equal(t, want, rows)
	for _, r := range report.Rows[11:] {
		require.Nil(t, r.Pseudo, r.Label)
		require.Greater(t, *r.Accuracy, 0.9, r.Label)
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-bogus"}, {"-method", "vanilla"}, {"-aligner", "x"}, {"-solver", "magic"}, {"-residual", "none"}, {"-samples", "0"},
		{"-reg", "-1"},
		{"-epochs", "-1"}, {"-lr", "-1"}, {"-texts", "-3"}, {"-learn", "0"}, {"-words", "5"}, {"-length", "2"}, {"-out", ""},
		{"-train", "-glue", "x"}, {"-compress", "-1"},
		{"-compress", "8", "-train"}, {"-compress", "8", "-glue", "x"}, {"stray"},
	} {
		_, err := parse(args)
		require.Error(t, err, args)
		require.NotContains(t, cli.OneLine(err), "\n", args)
	}
}

// TestBadInput: what is wrong is said before any work, and nothing is written.
func TestBadInput(t *testing.T) {
	ctx, dir, tmp := context.Background(), smallText(t), t.TempDir()
	empty := write(t, t.TempDir(), map[string]string{"train.txt": "\n = Title = \n", "valid.txt": "a"})
	short := write(t, t.TempDir(), map[string]string{"train.txt": "a b", "valid.txt": "a"})
	parent := func(seed int, more ...string) string { return untrained(t, dir, seed, more...) }
	a, b := parent(0), parent(1)
	strange := parent(1)
	raw, err := os.ReadFile(filepath.Join(strange, "config.json"))
	require.NoError(t, err)
	write(t, strange, map[string]string{"config.json": strings.ReplaceAll(string(raw), "BertForMaskedLM",
		"T5ForConditionalGeneration")})
	m, err := models.Open(b)
	require.NoError(t, err)
	m, err = models.Classify(m, []string{"0", "1"}, 0)
	require.NoError(t, err)
	classifier := filepath.Join(t.TempDir(), "classifier")
	require.NoError(t, m.Save(classifier))
	bare := parent(1)
	require.NoError(t, os.Remove(filepath.Join(bare, "vocab.txt")))
	words := write(t, t.TempDir(), map[string]string{"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"})
	blocked := filepath.Join(write(t, tmp, map[string]string{"file": ""}), "file")
	out := filepath.Join(tmp, "out")
	base := []string{"-data", "folder", "-dir", dir, "-out", out}
	fusing := func(more ...string) []string { return append(append([]string{}, base...), more...) }
	for want, args := range map[string][]string{
		"no parents are shipped":        base,
		"want at least two":             fusing("-parents", a),
		"no such file":                  fusing("-parents", a+",./nowhere"),
		"unknown architecture":          fusing("-parents", a+","+strange),
		"want a BertForMaskedLM":        fusing("-parents", a+","+classifier),
		"differs from that of parent 0": fusing("-parents", a+","+parent(1, "-words", "150")),
		"vocab.txt of parent 1 differs": fusing("-parents", a+","+bare),
		"have neither tokenizer.json":   fusing("-parents", bare+","+bare),
		"the tokenizer has 6":           fusing("-parents", a+","+b, "-vocab", filepath.Join(words, "vocab.txt")),
		"depth differs":                 fusing("-parents", a+","+parent(1, "-depth", "2")),
		"parent 0 of 16":                fusing("-parents", a+","+parent(1, "-length", "12")),
		"text: empty text":              {"-data", "folder", "-dir", empty, "-out", out, "-parents", a + "," + b},
		"do not fill a sequence":        {"-data", "folder", "-dir", short, "-out", out, "-parents", a + "," + b},
		"-dir with train.txt":           {"-data", "folder", "-out", out},
		"allowed are auto":              {"-data", "enwik8", "-out", out},
		"-out":                          {"-data", "folder", "-dir", dir, "-out", filepath.Join(blocked, "x")},
		"train.tsv":                     fusing("-parents", a+","+b, "-glue", tmp),
		"letters of the text":           small(dir, "-out", out+"1", "-words", "20"),
		"attend bert.encoder.laye":      small(dir, "-out", out+"2", "-heads", "3"),
		"empty text: train.txt":         {"-train", "-data", "folder", "-dir", empty, "-out", out + "3"},
		"is not replaced":               small(dir, "-out", dir),
		"no [PAD]":                      small(dir, "-out", out+"4", "-vocab", filepath.Join(dir, "train.txt")),
	} {
		o := parse1(t, args...)
		run := compare
		if o.train {
			run = trainParent
		}
		err := run(ctx, o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, cli.OneLine(err), "\n", want)
		left, err := filepath.Glob(out + "*/*")
		require.NoError(t, err)
		require.Empty(t, left, want)
	}
}

// TestShipped: the pairs read the vocabulary that the program learns from their
// text, and have learned from that text.
func TestShipped(t *testing.T) {
	ctx := context.Background()
	device, err := gomlx.Open(ctx, func(p models.Progress) { t.Log(p.Item) })
	require.NoError(t, err)
	defer device.Close()
	for name, most := range map[string]float64{lab.Atlas: 1.5, "wikitext2": 5.5} { // nats
		t.Run(name, func(t *testing.T) {
			if name != lab.Atlas && os.Getenv("OTFUSE_DATA") == "" {
				t.Skip("OTFUSE_DATA is not set")
			}
			text, parents, err := parse1(t, "-data", name, "-texts", "32").open(ctx)
			require.NoError(t, err)
			again, err := text.Network(lab.Net{Width: 4, Depth: 1, Heads: 1, Words: parents[0].Config.(models.BERTConfig).Vocab,
				Length: 16})
			require.NoError(t, err)
			for k, m := range parents {
				require.Equal(t, again.Files, m.Files, "parent %d", k)
			}
			require.NoError(t, text.Accept(parents))
			for k, m := range parents {
				s, err := text.Score(ctx, device, m)
				require.NoError(t, err)
				require.Less(t, s.Loss, most, "parent %d", k)
			}
		})
	}
}

// TestAuto: without parents, WikiText-2 is fused where it is, and another text
// of that name is refused before its words are taken for others.
func TestAuto(t *testing.T) {
	ctx, text := context.Background(), smallText(t)
	dir := t.TempDir()
	require.NoError(t, os.Rename(text, filepath.Join(dir, "wikitext-2")))
	_, _, err := parse1(t, "-dir", dir).open(ctx)
	require.ErrorContains(t, err, "parent 0 was not trained on this text")
}
