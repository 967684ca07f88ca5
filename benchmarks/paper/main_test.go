package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/text"
)

// shrunk is a scale over networks that are trained in no time.
func shrunk(s scale) scale {
	for _, k := range []*kind{&s.Main, &s.Narrow, &s.Crowd, &s.Text} {
		k.Width, k.Depth, k.Heads, k.Shipped = 8, 1, 2, ""
		k.Train.Epochs, k.Train.Warmup, k.Train.Batch = 2, 0, 16
	}
	s.Main.Width, s.Main.Patch, s.Narrow.Patch, s.Crowd.Patch = 16, 8, 8, 8
	s.Text.Words, s.Text.Length, s.Text.Train.Epochs = 100, 8, 0.02
	s.Tune.Epochs, s.Tune.Warmup, s.Tune.Batch = 2, 0, 16
	s.TuneText.Epochs, s.TuneText.Batch = 0.02, 16
	s.Models, s.Draws, s.Side, s.Images, s.Texts, s.Learn = 3, 2, 3, 30, 30, 2
	return s
}

// newBench is a bench on a few shapes.
func newBench(t *testing.T, s scale) *bench {
	t.Setenv("GOMLX_BACKEND", "go:ops_sequential") // has nothing to compile, and these networks are small
	device, err := gomlx.Open(t.Context(), func(p models.Progress) { t.Log(p.Item) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, device.Close()) })
	images := &lab.Images{Train: dataset.Shapes(96, 1), Test: dataset.Shapes(30, 2), Name: "shapes", Label: "Shapes, few"}
	images.Norm, err = images.Train.Norm()
	require.NoError(t, err)
	few := text.Corpus{Train: dataset.Encyclopedia(200, 1), Test: dataset.Encyclopedia(10, 2)}
	return &bench{options: options{scale: s, images: "30", cache: t.TempDir(), out: t.TempDir()}, device: device,
		images: images,
		prose:  &lab.Text{Corpus: lab.Corpus{Name: "few", Label: "atlas, few", Corpus: few}, Most: s.Texts}}
}

// remade runs one table and reads back what was published.
func remade(t *testing.T, b *bench, name string) result {
	r, err := b.tabulate(t.Context(), name)
	require.NoError(t, err, name)
	dir := t.TempDir()
	require.NoError(t, r.publish(dir))
	require.NoError(t, publishAll(dir))
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), "`"+b.command(name)+"`")
	file, err := os.ReadFile(filepath.Join(dir, name+".json"))
	require.NoError(t, err)
	var back result
	require.NoError(t, json.Unmarshal(file, &back))
	for _, x := range back.Rows {
		require.Contains(t, string(page), fmt.Sprintf("\n| %s |", x.Label))
		require.True(t, *x.Accuracy >= 0 && *x.Accuracy <= 1, x.Label)
		require.Greater(t, *x.Loss, 0., x.Label)
	}
	if back.Plane != nil {
		f, err := os.Open(filepath.Join(dir, name+".png"))
		require.NoError(t, err)
		defer f.Close()
		_, err = png.Decode(f)
		require.NoError(t, err)
	}
	return back
}

// labels are the rows of a result.
func labels(r result) (out []string) {
	for _, x := range r.Rows {
		out = append(out, x.Label)
	}
	return out
}

func last(r result) row { return r.Rows[len(r.Rows)-1] }

// TestTables runs every table, shrunk.
func TestTables(t *testing.T) {
	b := newBench(t, shrunk(tiny()))
	made := map[string]result{}
	for _, tab := range tables(b.scale) {
		r := remade(t, b, tab.name)
		made[tab.name] = r
		tuned := 0
		if tab.tuned > 0 {
			tuned = tab.tuned + len(tab.trials)
		}
		controls := 0
		if !tab.profiled {
			controls = 1 // the anchor shrunk, and beside each refit a uniform share
		}
		for _, trial := range tab.trials {
			if trial.Recipe.Refit > 0 && trial.Recipe.Method != recipe.Vanilla {
				controls++
			}
		}
		require.Len(t, r.Rows, len(tab.parents(b.scale)[0])+1+controls+len(tab.trials)+tuned, tab.name)
		for _, x := range r.Rows[len(r.Rows)-tuned:] {
			require.Positive(t, x.Finetuned, x.Label)
		}
	}
	require.Equal(t, []string{"parent 0, 8 wide", "parent 1, 16 wide", "ensemble", "anchor shrunk, × 0.5", "OT-WTS",
		"OT-ACTS", "OT-ACTS widening", "matching, activations, refit",
		"matching, activations, refit: uniform share as far from the anchor",
		"learned, labels", "anchor, distilled on the same samples", "parent 0, 8 wide, finetuned", "OT-WTS, finetuned",
		"OT-ACTS, finetuned", "OT-ACTS widening, finetuned", "matching, activations, refit, finetuned",
		"learned, labels, finetuned", "anchor, distilled on the same samples, finetuned"}, labels(made["compress"]))
	one := made["oneshot"]
	require.Equal(t, []int{1, 1, 1, 1, 1, 1, 2, 2, 1, 2}, runs(one), "draws of images, where they count")
	require.NotNil(t, one.Rows[6].AccuracyStd)
	require.Equal(t, 2*96/16, last(made["finetuned"]).Finetuned)
	for _, x := range made["profile"].Rows[3:] {
		require.Positive(t, x.Stages.Seconds, x.Label)
		require.InDelta(t, x.Stages.Seconds, x.Stages.Collect+x.Stages.Costs+x.Stages.Plans+x.Stages.Rest, 1e-6, x.Label)
	}
	barriers(t, made["pairs"])
	require.Equal(t, []string{"VF", "VF, refit", "OT-ACTS", "OT-ACTS, refit"}, labels(made["symmetries-bert"])[4:8])
	for _, x := range made["symmetries-simplevit"].Rows[4:] {
		if strings.Contains(x.Label, "uniform share") {
			continue
		}
		require.Equal(t, strings.HasSuffix(x.Label, "refit"), x.Barrier == nil, x.Label)
	}
	left, err := filepath.Glob(filepath.Join(b.cache, "tuning-*", "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// barriers checks the fresh pairs: matching moves a model to where it computes
// what it did, so that its line ends at the loss of the other parent, as that of
// vanilla fusion does.
func barriers(t *testing.T, r result) {
	require.Equal(t, []int{3, 3, 3, 3, 3, 3, 3, 3, 3, 3}, runs(r), "pairs of parents")
	for _, x := range r.Rows[4:] {
		require.NotNil(t, x.Barrier, x.Label)
		var middle, from, to float64
		for _, line := range x.Lines {
			require.Len(t, line, 21)
			from, middle, to = from+line[0].Loss/3, middle+line[10].Loss/3, to+line[20].Loss/3
		}
		require.InDelta(t, *r.Rows[0].Loss, from, 1e-4, x.Label)
		require.InDelta(t, *x.Loss, middle, 1e-4, x.Label)
		if x.Method != "flow" {
			require.InDelta(t, *r.Rows[1].Loss, to, 1e-3, x.Label)
		}
	}
}

func runs(r result) (out []int) {
	for _, x := range r.Rows {
		out = append(out, x.Runs)
	}
	return out
}

// TestShrinkage: what is scaled to the norms of the other plans has them, and all rows
// are there.
func TestShrinkage(t *testing.T) {
	b := newBench(t, shrunk(tiny()))
	require.Equal(t, []string{"soft plans", "hard plans", "hard plans, shrunk as soft ones",
		"soft plans, grown as hard ones", "anchor shrunk, × 0.5"}, labels(remade(t, b, "shrinkage")))
	small, large := models.Params{"w": {Shape: []int{2}, Data: []float32{0, 1}}},
		models.Params{"w": {Shape: []int{2}, Data: []float32{6, 8}}}
	got := resized(&fuse.Aligned{Others: []models.Params{large}}, &fuse.Aligned{Others: []models.Params{small}})
	require.InDeltaSlice(t, []float32{0.6, 0.8}, got.Others[0]["w"].Data, 1e-6)
}

// TestLandscape: the marked places are the models they are called after.
func TestLandscape(t *testing.T) {
	b := newBench(t, shrunk(tiny()))
	one, flat := remade(t, b, "oneshot"), remade(t, b, landscape)
	for at, model := range map[int]int{0: 0, 1: 1, 3: 4} { // anchor, other, vanilla fusion
		require.InDelta(t, *one.Rows[model].Loss, *flat.Rows[at].Loss, 1e-4, flat.Rows[at].Label)
	}
	require.NotEqual(t, *flat.Rows[3].Loss, *flat.Rows[4].Loss)
	p := flat.Plane
	require.Len(t, p.Loss, b.scale.Side)
	st := &study{bench: b, table: landscapeTable(), result: &result{}}
	require.NoError(t, st.open(t.Context()))
	parents := st.groups[0]
	var square float64
	for name, a := range parents[0].Params {
		for i, v := range a.Data {
			square += math.Pow(float64(v-parents[1].Params[name].Data[i]), 2)
		}
	}
	require.InEpsilon(t, math.Sqrt(square), math.Hypot(p.Places[1].X, p.Places[1].Y), 1e-4, "distances are true")
}

// TestGrowth: everything is measured at every size.
func TestGrowth(t *testing.T) {
	few := shrunk(tiny())
	few.Main.Patch = 32
	b := newBench(t, few)
	r, err := b.tabulate(t.Context(), "growth")
	require.NoError(t, err)
	require.Len(t, r.Rows, 8)
	var heads []string
	for _, z := range r.Rows[0].Sizes {
		heads = append(heads, fmt.Sprintf("%d wide, %d deep", z.Width, z.Depth))
	}
	require.Equal(t, []string{"12 wide, 2 deep", "24 wide, 2 deep", "48 wide, 2 deep", "24 wide, 1 deep",
		"24 wide, 4 deep"}, heads)
	for i, line := range r.table() {
		require.Len(t, slices.DeleteFunc(line, func(s string) bool {
			return !strings.Contains(s, " s") &&
				!slices.Contains(heads, s)
		}), 5, i)
	}
	for _, x := range r.Rows {
		for _, z := range x.Sizes {
			require.Positive(t, z.Seconds, x.Label)
		}
		require.NotNil(t, x.Time, x.Label)
	}
	require.NoError(t, r.publish(b.out))
	kept, err := b.kept(t.Context(), "growth")
	require.NoError(t, err)
	require.Equal(t, r.table(), kept.table())
}

func TestFitExponents(t *testing.T) {
	var zs []sizeUsage
	for _, size := range sizedPairs(tiny()) {
		k := size[0]
		zs = append(zs, sizeUsage{k.Width, k.Depth, meter.Usage{Seconds: 3 * math.Pow(float64(k.Width),
			2.5) * math.Pow(float64(k.Depth), 0.5)}})
	}
	get := func(z sizeUsage) *float64 { return &z.Seconds }
	e := fitExponents(zs, get)
	require.InDelta(t, 2.5, e.Width, 1e-9)
	require.InDelta(t, 0.5, e.Depth, 1e-9)
	require.Nil(t, fitExponents(zs[:3], get), "of one depth")
	require.Nil(t, fitExponents(zs[:2], get))
	require.Nil(t, fitExponents(nil, get))
	zs[4].Seconds = 0
	require.Nil(t, fitExponents(zs, get))
}

// TestPaperScale: the preset of the paper trains, accumulates and fuses.
func TestPaperScale(t *testing.T) {
	s := paper()
	require.Equal(t, []int{384, 7, 12, 4}, []int{s.Main.Width, s.Main.Depth, s.Main.Heads, s.Main.Patch})
	r := s.Main.Train.Config(50_000 / s.Main.Train.Batch)
	require.Equal(t, gomlx.TrainConfig{Steps: 60_000, LR: 1e-3, Warmup: 15, WeightDecay: 5e-5, Accumulate: 2}, r)
	b := newBench(t, shrunk(s))
	require.Equal(t, 2*6/2, b.scale.Tune.Config(96/16).Steps)
	require.Equal(t, "learned, labels, finetuned", last(remade(t, b, "finetuned")).Label)
}

// TestKept: a parent is trained once, and a table is made once.
func TestKept(t *testing.T) {
	b := newBench(t, shrunk(tiny()))
	st := &study{bench: b, task: b.images}
	one, err := st.parent(t.Context(), b.scale.Narrow.seed(1))
	require.NoError(t, err)
	dir := st.cached(b.scale.Narrow.seed(1))
	before, err := os.Stat(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	again, err := st.parent(t.Context(), b.scale.Narrow.seed(1))
	require.NoError(t, err)
	require.Equal(t, one.Params, again.Params)
	after, err := os.Stat(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
	require.NotEqual(t, dir, st.cached(b.scale.Narrow.seed(2)))

	kept := func() *result {
		r, err := b.kept(t.Context(), "qk")
		require.NoError(t, err)
		return r
	}
	require.Nil(t, kept())
	r, err := b.tabulate(t.Context(), "qk")
	require.NoError(t, err)
	require.NoError(t, r.publish(b.out))
	require.Equal(t, labels(*r), labels(*kept()))
	b.images.Label = "other images"
	_, err = b.kept(t.Context(), "qk")
	require.ErrorContains(t, err, "about Shapes, few, and the data found now are other images")
	b.scale.Draws++
	require.Nil(t, kept(), "another scale")
}

func TestDry(t *testing.T) {
	o, err := parse([]string{"-scale", "paper", "-dry", "all"})
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, run(context.Background(), o, &text))
	var plan struct {
		Scale  scale
		Tables []struct {
			Table  string
			Trials []lab.Trial
		}
	}
	require.NoError(t, json.Unmarshal(text.Bytes(), &plan))
	require.Equal(t, paper(), plan.Scale)
	require.Len(t, plan.Tables, len(names(paper())))
	require.Equal(t, "average", plan.Tables[0].Trials[2].Recipe.Residual)
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{}, {"nonesuch"}, {"-scale", "huge", "oneshot"}, {"-parents", "a", "oneshot"},
		{"-bogus"}, {"-images", "x", "all"}} {
		_, err := parse(args)
		require.Error(t, err, args)
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	o, err := parse([]string{"-out", filepath.Join(file, "x"), "oneshot"})
	require.NoError(t, err)
	require.ErrorContains(t, run(context.Background(), o, nil), "-out")
}
