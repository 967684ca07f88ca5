package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

// imageFolder writes a set of three classes that differ in brightness.
func imageFolder(t *testing.T) string {
	dir := t.TempDir()
	for part, n := range map[string]int{"train": 60, "test": 20} {
		for class := range 3 {
			sub := filepath.Join(dir, part, fmt.Sprintf("class%d", class))
			require.NoError(t, os.MkdirAll(sub, 0o755))
			for i := range n {
				img := image.NewRGBA(image.Rect(0, 0, 32, 32))
				for k := range 32 * 32 {
					img.Set(k%32, k/32, color.RGBA{uint8(80*class + (i*k)%50), uint8(i), uint8(k), 255})
				}
				f, err := os.Create(filepath.Join(sub, fmt.Sprintf("%04d.png", i)))
				require.NoError(t, err)
				require.NoError(t, png.Encode(f, img))
				require.NoError(t, f.Close())
			}
		}
	}
	return dir
}

// parse1 parses flags that must be good.
func parse1(t *testing.T, args ...string) options {
	o, err := parse(args)
	require.NoError(t, err)
	return o
}

// trained trains a tiny parent by the program's own -train.
func trained(t *testing.T, set string, seed int) string {
	dir := filepath.Join(t.TempDir(), "parent")
	o := parse1(t, "-train", "-data", "imagefolder", "-dir", set, "-out", dir, "-seed", fmt.Sprint(seed), "-epochs", "3",
		"-width", "16", "-depth", "2", "-heads", "2", "-side", "24")
	require.NoError(t, trainParent(context.Background(), o))
	return dir
}

// TestParts: parents of parts of a set, whose pixels are normalised differently, are
// fused, and the report says what each was trained on.
func TestParts(t *testing.T) {
	set := imageFolder(t)
	var dirs []string
	for part := 1; part <= 2; part++ {
		dir := filepath.Join(t.TempDir(), "parent")
		require.NoError(t, trainParent(context.Background(), parse1(t, "-train", "-data", "imagefolder", "-dir", set,
			"-out", dir, "-seed", fmt.Sprint(part), "-epochs", "1", "-width", "16", "-depth", "1", "-heads", "2", "-side", "24",
			"-split", fmt.Sprintf("%d/2", part), "-skew", "0.6")))
		dirs = append(dirs, dir)
	}
	out := filepath.Join(t.TempDir(), "out")
	o := parse1(t, "-data", "imagefolder", "-dir", set, "-parents", strings.Join(dirs, ","), "-out", out, "-method",
		"match", "-samples", "20", "-epochs", "1")
	require.NoError(t, compare(context.Background(), o))
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	require.NoError(t, err)
	for part := 1; part <= 2; part++ {
		require.Contains(t, string(page), fmt.Sprintf("part %d of 2 at skew 0.6", part))
	}
	card, err := os.ReadFile(filepath.Join(out, "fused", report.CardFile))
	require.NoError(t, err)
	require.Contains(t, string(card), "parent 1: ")
}

// reported reads the report that a run wrote.
func reported(t *testing.T, out string) (report report.Report) {
	text, err := os.ReadFile(filepath.Join(out, "report.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &report))
	return report
}

func TestCompare(t *testing.T) {
	set := imageFolder(t)
	a, b := trained(t, set, 0), trained(t, set, 1)
	require.NoFileExists(t, a+".training.safetensors", "what a finished training leaves")
	out := filepath.Join(t.TempDir(), "out")
	o := parse1(t, "-data", "imagefolder", "-dir", set, "-parents", a+","+b, "-out", out, "-epochs", "2", "-samples", "30",
		"-learn", "5", "-distil", "3", "-all")
	require.NoError(t, compare(context.Background(), o))

	report := reported(t, out)
	var rows []string
	for _, r := range report.Rows {
		rows = append(rows, fmt.Sprint(r.Method, " ", r.Finetuned))
		require.NotNil(t, r.Accuracy, r.Label)
		require.True(t, *r.Accuracy >= 0 && *r.Accuracy <= 1, r.Label)
		require.Greater(t, *r.Loss, 0., r.Label)
	}
	require.Equal(t, []string{"parent 0", "parent 0", "ensemble 0", "shrunk 0", "vanilla 0", "vanilla 0",
		"head 0", "flow 0", "flow 0", "flow 0", "flow 0", "flow 0", "flow 0", "match 0", "match 0", "match 0", "match 0",
		"learned 0", "learned 0", "learned 0", "concatenate 0", "concatenate 0", "distil 0", "distil 0",
		"match 0", "drawn 0", "random 0", "match 0", "match 0", "match 0",
		"flow 2", "match 2", "learned 2", "vanilla 2", "parent 2", "parent 2", "learned 2", "parent 2", "drawn 2",
		"match 2", "match 2"}, rows)
	require.Empty(t, report.Rows[0].Seen)
	for k, seen := range map[int]string{17: "5 updates of 64 without labels", 18: "5 updates of 64 with labels",
		19: "5 updates of 24 of them", 22: "3 updates of 24 of them",
		36: "5 updates of 64 without labels; 2 updates of 128 without labels"} {
		require.Equal(t, "30 images; "+seen, report.Rows[k].Seen)
	}
	lines := map[string]int{}
	for _, c := range report.Curves {
		if c.Barrier == nil {
			continue
		}
		lines[c.Method]++
		require.Len(t, c.Points, 21, c.Label)
		middle := c.Points[10].Loss - (*report.Rows[0].Loss+*report.Rows[1].Loss)/2 // all test images are scored
		require.GreaterOrEqual(t, c.Barrier.Loss, middle-1e-6, c.Label)
		if c.Method != "flow" {
			require.InDelta(t, *report.Rows[1].Loss, c.Points[20].Loss, 1e-4, c.Label)
		}
	}
	require.Equal(t, map[string]int{"vanilla": 1, "flow": 1, "match": 1, "learned": 1}, lines)
	require.NotEmpty(t, report.Nodes)
	require.NotEmpty(t, report.Backend)
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	require.NoError(t, err)
	for _, r := range report.Rows {
		require.Contains(t, string(page), fmt.Sprintf("<td>%d</td><td>%.2f %%</td><td>%.3f</td>", r.Finetuned,
			100**r.Accuracy, *r.Loss), r.Label)
	}
	for _, part := range []string{"Along the line", "barrier", "Finetuning", "Maps between units", "The flow graph",
		"Node by node", "vanilla fusion"} {
		require.Contains(t, string(page), part)
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
		require.NotEqual(t, anchor.Params["classifier.weight"].Data, m.Params["classifier.weight"].Data)
	}
}

// untrained saves a tiny parent that has learned nothing.
func untrained(t *testing.T, set string, more ...string) string {
	o := parse1(t, append([]string{"-train", "-data", "imagefolder", "-dir", set, "-width", "16", "-depth", "1", "-heads",
		"2", "-side", "16"}, more...)...)
	images, err := o.openImages(context.Background())
	require.NoError(t, err)
	p, err := o.parent(images)
	require.NoError(t, err)
	m := p.Model()
	dir := filepath.Join(t.TempDir(), "parent")
	require.NoError(t, m.Save(dir))
	return dir
}

// TestMany fuses three, on images of the size that they read.
func TestMany(t *testing.T) {
	set, out := imageFolder(t), filepath.Join(t.TempDir(), "out")
	var parents []string
	for seed := range 3 {
		parents = append(parents, untrained(t, set, "-seed", fmt.Sprint(seed)))
	}
	o := parse1(t, "-data", "imagefolder", "-dir", set, "-parents", strings.Join(parents, ","), "-out", out, "-method",
		"match", "-epochs", "1", "-samples", "8", "-distil", "2")
	require.NoError(t, compare(context.Background(), o))
	report := reported(t, out)
	var rows []string
	for _, r := range report.Rows {
		rows = append(rows, r.Method)
	}
	require.Equal(t, []string{"parent", "parent", "parent", "ensemble", "shrunk", "vanilla", "vanilla", "head", "match",
		"match", "match", "match", "distil", "match", "vanilla", "parent", "parent", "parent", "match", "parent"}, rows)
	m, err := models.Open(filepath.Join(out, "fused"))
	require.NoError(t, err)
	require.Equal(t, 16, m.Config.(models.ViTConfig).Image)
}

// TestCompress makes narrow networks of one parent and of two.
func TestCompress(t *testing.T) {
	set := imageFolder(t)
	a, b := untrained(t, set, "-seed", "0"), untrained(t, set, "-seed", "1")
	for parents, want := range map[string][]string{
		a: {"parent 0", "drawn 0", "random 0", "match 0", "match 0", "drawn 1", "match 1", "drawn 1", "match 1"},
		a + "," + b: {"parent 0", "parent 0", "ensemble 0", "drawn 0", "random 0", "match 0", "match 0", "match 0",
			"drawn 1", "match 1", "match 1", "drawn 1", "match 1", "match 1"},
	} {
		out := filepath.Join(t.TempDir(), "out")
		o := parse1(t, "-data", "imagefolder", "-dir", set, "-parents", parents, "-out", out, "-compress", "8", "-samples",
			"8")
		require.Equal(t, []float64{1, lab.NarrowRate}, []float64{o.epochs, o.lr})
		require.NoError(t, compare(context.Background(), o))
		var rows []string
		for _, r := range reported(t, out).Rows {
			rows = append(rows, fmt.Sprint(r.Method, " ", r.Finetuned))
		}
		require.Equal(t, want, rows)
		for _, name := range []string{"fused", "distilled", "finetuned"} {
			m, err := models.Open(filepath.Join(out, name))
			require.NoError(t, err)
			c := m.Config.(models.ViTConfig)
			require.Equal(t, []int{8, 32, 2}, []int{c.Hidden, c.MLP, c.Heads}, name)
		}
	}
}

// TestStory: without flags the story alone is told: few trials, the controls, a network
// of half the width.
func TestStory(t *testing.T) {
	images, err := parse1(t, "-data", "imagefolder", "-dir", imageFolder(t), "-side", "16").openImages(t.Context())
	require.NoError(t, err)
	var parents []*models.Model
	for seed := range uint64(2) {
		m, err := images.Network(lab.Net{Width: 16, Depth: 1, Heads: 2, Patch: 8, Seed: seed})
		require.NoError(t, err)
		parents = append(parents, m)
	}
	o := parse1(t)
	e, saved, err := o.fusion(lab.Comparison{Task: images, Parents: parents, Choice: o.choice}, images)
	require.NoError(t, err)
	var labels []string
	for _, trial := range e.Trials {
		labels = append(labels, trial.Label)
	}
	require.Equal(t, []string{"vanilla fusion", "anchor, head refit", "transport fusion, activations, sinkhorn",
		"matching, activations, refit",
		"matching, activations", "side by side, refit", "anchor, distilled on the same samples"}, labels)
	require.True(t, e.Controls)
	require.Equal(t, []string{"8 wide, drawn", "8 wide, cut at random from parent 0", "8 wide, cut from parent 0"},
		e.Narrow.Of)
	require.Equal(t, []string{"side by side, refit", "parent 0 (anchor)"}, e.Tune[0].Of)
	require.Equal(t, e.Narrow.Trained(), e.Tune[1].Of)
	require.Equal(t, parents, e.Tune[1].Teachers)
	require.Equal(t, map[string]string{"side by side, refit": "fused", "side by side, refit, finetuned": "finetuned"},
		saved)
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-bogus"}, {"-method", "vanilla"}, {"-aligner", "x"}, {"-aligner", "heads", "-solver", "widening"},
		{"-solver", "magic"}, {"-residual", "none"}, {"-tokens", "window:0"}, {"-tokens", "window"}, {"-samples", "0"},
		{"-reg", "-1"}, {"-epochs", "-1"}, {"-images", "-3"}, {"-learn", "0"}, {"-out", ""}, {"-side", "-1"}, {"stray"},
		{"-seed", "x"}, {"-distil", "0"}, {"-compress", "-1"}, {"-compress", "8", "-train"},
		{"-split", "1/2"}, {"-skew", "0.5", "-train"}, {"-split", "3/2", "-train"}, {"-split", "1/2", "-skew", "2", "-train"},
		{"-learn-on", "x"}, {"-learn-batch", "0"},
	} {
		_, err := parse(args)
		require.Error(t, err, args)
		require.NotContains(t, cli.OneLine(err), "\n", args)
	}
}

// TestTorn: an image that cannot be decoded is left out.
func TestTorn(t *testing.T) {
	set := imageFolder(t)
	require.NoError(t, os.Truncate(filepath.Join(set, "train", "class1", "0004.png"), 60))
	images, err := parse1(t, "-data", "imagefolder", "-dir", set).openImages(context.Background())
	require.NoError(t, err)
	require.Equal(t, []int{3*60 - 1, 3 * 20}, []int{images.Size(), images.Tests()})
}

func TestBadInput(t *testing.T) {
	ctx, set := context.Background(), imageFolder(t)
	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o644))
	a, strange := untrained(t, set), untrained(t, set)
	raw, err := os.ReadFile(filepath.Join(strange, "config.json"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(strange, "config.json"),
		[]byte(strings.ReplaceAll(string(raw), "ViTForImageClassification", "ResNetForImageClassification")), 0o600))
	out := filepath.Join(t.TempDir(), "out")
	base := []string{"-data", "imagefolder", "-dir", set, "-out", out}
	for want, args := range map[string][]string{
		"no parents are shipped": base,
		"want at least two":      append(base, "-parents", "./a"),
		"no such file":           append(base, "-parents", "./a,./b"),
		"unknown architecture":   append(base, "-parents", a+","+strange),
		"a width of 16 units":    append(base, "-parents", a, "-compress", "16"),
		"depth differs":          append(base, "-parents", a+","+untrained(t, set, "-depth", "2")),
		"parent 1 reads 24×24":   append(base, "-parents", a+","+untrained(t, set, "-side", "24")),
		"which reads no images": append(base, "-parents",
			"../bert-wiki/parents/atlas-seed0,../bert-wiki/parents/atlas-seed1"),
		"-out":                    {"-data", "imagefolder", "-dir", set, "-out", filepath.Join(blocked, "x")},
		"there are cifar10":       {"-data", "mnist", "-out", out},
		"needs the folder":        {"-data", "imagefolder", "-out", out},
		"is not a multiple":       {"-train", "-data", "imagefolder", "-dir", set, "-out", out + "2", "-patch", "7"},
		"is not replaced":         {"-train", "-data", "imagefolder", "-dir", set, "-out", set},
		"attend vit.encoder.laye": {"-train", "-data", "imagefolder", "-dir", set, "-out", out + "3", "-heads", "3"},
	} {
		o := parse1(t, args...)
		run := compare
		if o.train {
			run = trainParent
		}
		err := run(ctx, o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, cli.OneLine(err), "\n", want)
	}
}
