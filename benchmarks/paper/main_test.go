package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/vision"
	"github.com/otfuse/otfuse/models/data"
	"github.com/otfuse/otfuse/models/mlx"
)

// shrunk is a scale over networks that are trained in no time.
func shrunk(s scale) scale {
	for _, k := range []*kind{&s.Main, &s.Narrow, &s.Crowd} {
		k.Depth, k.Heads, k.Patch, k.Shipped = 2, 2, 8, ""
		k.Train.Epochs, k.Train.Batch = 2, 16
	}
	s.Main.Width, s.Narrow.Width, s.Crowd.Width = 16, 8, 8
	s.Tune.Epochs, s.Tune.Batch = 2, 16
	s.Models, s.Draws, s.Side, s.Images = 3, 2, 3, 30
	return s
}

// newLab is a lab on a few shapes.
func newLab(t *testing.T, s scale) *lab {
	t.Setenv("GOMLX_BACKEND", "go:ops_sequential") // has nothing to compile, and these networks are small
	backend, err := mlx.Open(t.Context(), func(line string) { t.Log(line) })
	require.NoError(t, err)
	t.Cleanup(backend.Finalize)
	l := &lab{options: options{scale: s, cache: t.TempDir(), out: t.TempDir()}, backend: backend, runner: mlx.NewRunner(backend),
		images: vision.Images{Train: data.Shapes(96, 1), Test: data.Shapes(40, 2), Name: "shapes", Label: "Shapes, few"}}
	l.images.Norm = l.images.Train.Norm()
	t.Cleanup(l.runner.Close)
	return l
}

// made runs one table and reads back what was published.
func made(t *testing.T, l *lab, name string) result {
	r, err := l.named(t.Context(), name)
	require.NoError(t, err, name)
	dir := t.TempDir()
	var text bytes.Buffer
	require.NoError(t, r.publish(dir, &text))
	file, err := os.ReadFile(filepath.Join(dir, name+".json"))
	require.NoError(t, err)
	var back result
	require.NoError(t, json.Unmarshal(file, &back))
	for _, x := range back.Rows {
		require.Contains(t, text.String(), x.Label)
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

// TestTables runs every table, shrunk.
func TestTables(t *testing.T) {
	l := newLab(t, shrunk(tiny()))
	for _, tab := range tables(l.scale) {
		r := made(t, l, tab.name)
		tuned := 0
		if tab.tuned > 0 {
			tuned = tab.tuned + len(tab.trials)
		}
		require.Len(t, r.Rows, len(tab.parents(l.scale))+1+len(tab.trials)+tuned, tab.name)
		for _, x := range r.Rows[len(r.Rows)-tuned:] {
			require.Equal(t, 2*96/16, x.Finetuned, x.Label)
		}
	}
	require.Equal(t, []string{"parent 0, 8 wide", "parent 1, 16 wide", "ensemble", "OT-WTS", "OT-ACTS", "OT-ACTS widening",
		"parent 0, 8 wide, finetuned", "OT-WTS, finetuned", "OT-ACTS, finetuned", "OT-ACTS widening, finetuned"}, labels(made(t, l, "compress")))
	one := made(t, l, "oneshot")
	require.Equal(t, []int{1, 1, 1, 1, 1, 2, 2, 1}, draws(one), "runs over draws of images, where they count")
	require.NotNil(t, one.Rows[5].AccuracyStd)
}

func draws(r result) (out []int) {
	for _, x := range r.Rows {
		out = append(out, x.Draws)
	}
	return out
}

// TestLandscape: the marked places are the models they are called after.
func TestLandscape(t *testing.T) {
	l := newLab(t, shrunk(tiny()))
	one, flat := made(t, l, "oneshot"), made(t, l, landscape)
	for at, model := range map[int]int{0: 0, 1: 1, 3: 3} { // anchor, other, vanilla fusion
		require.InDelta(t, *one.Rows[model].Loss, *flat.Rows[at].Loss, 1e-4, flat.Rows[at].Label)
	}
	require.NotEqual(t, *flat.Rows[3].Loss, *flat.Rows[4].Loss)
	p := flat.Plane
	require.Len(t, p.Loss, l.scale.Side)
	parents, err := l.open(t.Context(), pair(l.scale))
	require.NoError(t, err)
	var square float64
	for name, a := range parents[0].Params {
		for i, v := range a.Data {
			square += math.Pow(float64(v-parents[1].Params[name].Data[i]), 2)
		}
	}
	require.InEpsilon(t, math.Sqrt(square), math.Hypot(p.Places[1].X, p.Places[1].Y), 1e-4, "distances are true")
}

// TestPaperScale: the preset of the paper trains, accumulates and fuses.
func TestPaperScale(t *testing.T) {
	s := paper()
	require.Equal(t, []int{384, 7, 12, 4}, []int{s.Main.Width, s.Main.Depth, s.Main.Heads, s.Main.Patch})
	r := s.Main.Train.Recipe(50_000 / s.Main.Train.Batch)
	require.Equal(t, mlx.Recipe{Steps: 60_000, LR: 1e-3, Warmup: 15, WeightDecay: 5e-5, Accumulate: 2}, r)
	l := newLab(t, shrunk(s))
	require.Equal(t, 2*6/2, l.scale.Tune.Recipe(96/16).Steps)
	tuned := labels(made(t, l, "finetuned"))
	require.Equal(t, "OT-ACTS, finetuned", tuned[len(tuned)-1])
}

// TestKept: a parent is trained once.
func TestKept(t *testing.T) {
	l := newLab(t, shrunk(tiny()))
	dir, err := l.find(t.Context(), l.scale.Narrow.seed(1))
	require.NoError(t, err)
	before, err := os.Stat(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	again, err := l.find(t.Context(), l.scale.Narrow.seed(1))
	require.NoError(t, err)
	require.Equal(t, dir, again)
	after, err := os.Stat(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
	other, err := l.find(t.Context(), l.scale.Narrow.seed(2))
	require.NoError(t, err)
	require.NotEqual(t, dir, other)
}

// TestResume: an interrupted table goes on where it stopped.
func TestResume(t *testing.T) {
	l := newLab(t, shrunk(tiny()))
	parents, err := l.open(t.Context(), pair(l.scale))
	require.NoError(t, err)
	s := start{cli.Row{Label: "parent"}, parents[0]}
	rec := l.scale.Tune.Recipe(96 / 16)
	trainer, err := mlx.NewTrainer(l.backend, s.model, rec)
	require.NoError(t, err)
	defer trainer.Close()
	once, err := l.tuned(t.Context(), trainer, rec, s)
	require.NoError(t, err)
	require.NoError(t, trainer.Close()) // is not needed again
	twice, err := l.tuned(t.Context(), nil, rec, s)
	require.NoError(t, err)
	require.Equal(t, once.Params, twice.Params)
	require.NotEqual(t, fingerprint(s.model), fingerprint(once))
	require.NotEqual(t, fingerprint(s.model), fingerprint(parents[1]))
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
			Trials []trial
		}
	}
	require.NoError(t, json.Unmarshal(text.Bytes(), &plan))
	require.Equal(t, paper(), plan.Scale)
	require.Len(t, plan.Tables, len(names(paper())))
	require.Equal(t, "average", plan.Tables[0].Trials[2].Recipe.Residual)
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{}, {"nonesuch"}, {"-scale", "huge", "oneshot"}, {"-parents", "a", "oneshot"}, {"-bogus"}, {"-images", "x", "all"}} {
		_, err := parse(args)
		require.Error(t, err, args)
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	o, err := parse([]string{"-out", filepath.Join(file, "x"), "oneshot"})
	require.NoError(t, err)
	require.ErrorContains(t, run(context.Background(), o, nil), "-out")
}
