package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// TestResume: a run that is interrupted while maps are learned, and one while a model is
// distilled from them, go on where they were, come to the same bytes, and leave nothing.
func TestResume(t *testing.T) {
	a, b, data := parent(t, 1, tiny()), parent(t, 2, tiny()), samples(t, 12)
	text := config(t, `{"method":"distil","steps":6,"batch":4,"start":{"method":"learned","steps":5,"batch":4}}`)
	whole := filepath.Join(t.TempDir(), "whole")
	require.NoError(t, program(t, "-out", whole, "-config", text, "-calib", data, a, b))
	want, err := models.Open(whole)
	require.NoError(t, err)

	dir := filepath.Join(t.TempDir(), "new")
	args := []string{"-out", filepath.Join(dir, "out"), "-config", text, "-calib", data, a, b}
	learning, distilling := filepath.Join(dir, "out"+lab.LearningSuffix), filepath.Join(dir, "out"+lab.DistillingSuffix)
	interrupt(t, args, func(m fuse.Distil, stop func(models.Progress)) {
		m.Start.(fuse.Matching).Learner.(*gomlx.Learner).Observe = stop
	})
	require.FileExists(t, learning)
	require.NoFileExists(t, distilling)
	interrupt(t, args, func(m fuse.Distil, stop func(models.Progress)) {
		m.Distiller.(*gomlx.Distiller).Observe = stop
	})
	require.FileExists(t, distilling)
	require.NoError(t, program(t, args...))
	got, err := models.Open(filepath.Join(dir, "out"))
	require.NoError(t, err)
	require.Equal(t, want.Params, got.Params)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "the result alone")
}

// TestForeignState: a state of other samples is not resumed from, and not harmed.
func TestForeignState(t *testing.T) {
	a, b, data := parent(t, 1, tiny()), parent(t, 2, tiny()), samples(t, 12)
	out := filepath.Join(t.TempDir(), "out")
	text := config(t, `{"method":"distil","steps":6,"batch":4}`)
	args := []string{"-out", out, "-config", text, "-calib", data, a, b}
	interrupt(t, args, func(m fuse.Distil, stop func(models.Progress)) {
		m.Distiller.(*gomlx.Distiller).Observe = stop
	})
	before, err := os.ReadFile(out + lab.DistillingSuffix)
	require.NoError(t, err)
	err = program(t, "-out", out, "-config", text, "-calib", samples(t, 13), a, b)
	require.ErrorIs(t, err, gomlx.ErrCheckpoint)
	require.ErrorContains(t, err, out+lab.DistillingSuffix)
	after, err := os.ReadFile(out + lab.DistillingSuffix)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// interrupt runs the program until what watch arms has seen three updates.
func interrupt(t *testing.T, args []string, watch func(fuse.Distil, func(models.Progress))) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o, err := parse(args)
	require.NoError(t, err)
	o.dirs = o.names
	j, err := load(o)
	require.NoError(t, err)
	j.device, err = cli.Open(ctx)
	require.NoError(t, err)
	defer j.device.Close()
	method, settings, _, err := j.method(ctx)
	require.NoError(t, err)
	watch(method.(fuse.Distil), func(p models.Progress) {
		if p.Done == 3 {
			cancel()
		}
	})
	_, _, err = fuse.Into(ctx, j.models[0], j.models[1:], method, settings)
	require.ErrorIs(t, err, context.Canceled)
}
