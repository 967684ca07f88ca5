package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/testxla"
	"github.com/otfuse/otfuse/models/gomlx"
)

func TestMain(m *testing.M) { testxla.MainInGo(m) }

// TestRounds: every way trains, sites that average end as one model, and what is done is
// not done again.
func TestRounds(t *testing.T) {
	o, err := parse([]string{"-out", t.TempDir(), "-width", "8", "-updates", "4", "-rounds", "2", "-skew", "0.6",
		"-samples", "20", "-batch", "8"})
	require.NoError(t, err)
	d, err := gomlx.Open(context.Background(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	images := &lab.Images{Train: dataset.Shapes(60, 1), Test: dataset.Shapes(40, 2), Name: "shapes", Label: "few shapes"}
	images.Norm, err = images.Train.Norm()
	require.NoError(t, err)
	for range 2 {
		for _, i := range o.items() {
			require.NoError(t, o.item1(t.Context(), d, images, i), i.name)
		}
	}
	var page bytes.Buffer
	require.NoError(t, o.printTable(&page))
	for name, models := range map[string]int{"alone": 6, "common-start": 1, "own-starts": 1, "own-starts-matched": 1,
		"drawn-together": 4, "distilled": 3} {
		require.Equal(t, models, strings.Count(page.String(), "| "+name+" |"), name)
	}
	files, err := os.ReadDir(o.out)
	require.NoError(t, err)
	require.Len(t, files, len(o.items()))
}

// TestMeet: models go as far towards their mean as the share says.
func TestMeet(t *testing.T) {
	o, err := parse([]string{"-width", "8", "-updates", "20", "-rounds", "2"})
	require.NoError(t, err)
	d, err := gomlx.Open(context.Background(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	images := &lab.Images{Train: dataset.Shapes(130, 1), Test: dataset.Shapes(40, 2), Name: "shapes", Label: "few shapes"}
	images.Norm, err = images.Train.Norm()
	require.NoError(t, err)
	f := &federation{options: o, item: item{strategy: o.strategies()[4]}, device: d, images: images}
	require.NoError(t, f.open())
	const name = "classifier.weight"
	before, err := f.models()
	require.NoError(t, err)
	require.NoError(t, f.meet(t.Context()))
	after, err := f.models()
	require.NoError(t, err)
	a, b := before[0].Params[name].Data, before[1].Params[name].Data
	for i, v := range after[0].Params[name].Data {
		require.InDelta(t, 0.995*a[i]+0.005*b[i], v, 1e-6)
	}
	for _, s := range f.sites {
		require.NoError(t, s.trainer.Close())
	}
}

func TestParse(t *testing.T) {
	for want, args := range map[string][]string{"-sites 2": {"-sites", "1"}, "-skew is 2": {"-skew", "2"},
		"unexpected argument": {"stray"}, "-updates": {"-updates", "3"},
		"-width 60 is no multiple": {"-width", "60", "-sites", "2"}} {
		_, err := parse(args)
		require.ErrorContains(t, err, want)
	}
	o, err := parse([]string{"-out", t.TempDir()})
	require.NoError(t, err)
	require.ErrorContains(t, o.printTable(&bytes.Buffer{}), "there are no results")
}
