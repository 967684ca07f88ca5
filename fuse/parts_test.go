package fuse_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// inParts fuses by a calibration in parts, made in some order.
func inParts(t *testing.T, dir string, data models.Batch, order []int, method fuse.Method,
	ms ...*models.Model) models.Params {
	n := len(order)
	for _, i := range order {
		share := modeltest.Calibration{Data: data.Slice((i-1)*data.Len()/n, i*data.Len()/n)}
		part, err := fuse.NewPart(dir, i, n, "these", share)
		require.NoError(t, err)
		require.NoError(t, fuse.Collect(t.Context(), ms[0], ms[1:], method, &fuse.Settings{Calibration: part,
			MomentBytes: 2000}))
		require.NoError(t, part.Finish())
	}
	parts, err := fuse.OpenParts(dir, "these")
	require.NoError(t, err)
	defer func() { require.NoError(t, parts.Close()) }()
	m, _, err := fuse.Into(t.Context(), ms[0], ms[1:], method, &fuse.Settings{Calibration: parts})
	require.NoError(t, err)
	return m.Params
}

// TestParts: parts that processes make in any order fuse to the same bytes, and to what
// one process makes of all samples, whatever their number.
func TestParts(t *testing.T) {
	net := modeltest.ViT()
	net.Config.Layers = 1
	data := net.Batch(9, 4)
	ms := []*models.Model{model(t, net, 1), model(t, net, 2), model(t, net, 3)}
	for _, method := range []fuse.Method{fuse.Vanilla{}, fuse.Transport{Residual: graph.WeightedMatrix{}},
		fuse.Transport{QK: fuse.Joint}, fuse.Matching{Mix: 0.3}} {
		whole, _, err := fuse.Into(t.Context(), ms[0], ms[1:], method,
			&fuse.Settings{Calibration: modeltest.Calibration{Data: data}})
		require.NoError(t, err)
		for _, orders := range [][][]int{{{1}, {1}}, {{1, 2, 3}, {3, 1, 2}}} {
			first := inParts(t, t.TempDir(), data, orders[0], method, ms...)
			sameBits(t, first, inParts(t, t.TempDir(), data, orders[1], method, ms...))
			for name, want := range whole.Params {
				require.LessOrEqual(t, modeltest.Apart(t, want.Data, first[name].Data), 1e-6, "%T: %s", method, name)
			}
		}
	}
}

// TestPartsRefused: what is missing, unfinished, of other samples, models or methods is
// refused by name.
func TestPartsRefused(t *testing.T) {
	net := modeltest.ViT()
	net.Config.Layers = 1
	a, b, data, dir := model(t, net, 1), model(t, net, 2), net.Batch(4, 4), t.TempDir()
	refused := func(dir, samples string, texts ...string) {
		t.Helper()
		_, err := fuse.OpenParts(dir, samples)
		require.ErrorIs(t, err, fuse.ErrPart)
		for _, text := range texts {
			require.ErrorContains(t, err, text)
		}
	}
	refused(dir, "these", dir, "holds none")
	inParts(t, dir, data, []int{1, 2}, fuse.Transport{}, a, b)
	second := filepath.Join(dir, "part-2-of-2")
	refused(dir, "others", "part-1-of-2", `"these", want "others"`)
	_, err := fuse.NewPart(dir, 2, 2, "others", modeltest.Calibration{})
	require.ErrorIs(t, err, fuse.ErrPart)
	_, err = fuse.NewPart(dir, 2, 2, "these", modeltest.Calibration{})
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = fuse.NewPart(dir, 3, 2, "these", modeltest.Calibration{})
	require.ErrorContains(t, err, "part 3 of 2")

	parts, err := fuse.OpenParts(dir, "these")
	require.NoError(t, err)
	_, _, err = fuse.Into(t.Context(), a, []*models.Model{model(t, net, 9)}, fuse.Transport{},
		&fuse.Settings{Calibration: parts})
	require.ErrorIs(t, err, fuse.ErrPart)
	require.ErrorContains(t, err, "part-1-of-2: ")
	require.ErrorContains(t, err, "of other models")
	_, _, err = fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Transport{Residual: graph.WeightedScalar{}},
		&fuse.Settings{Calibration: parts})
	require.ErrorIs(t, err, fuse.ErrPart)
	require.ErrorContains(t, err, "made for another method")
	require.NoError(t, parts.Close())

	set := &fuse.Settings{Calibration: modeltest.Calibration{Data: data}, Refit: &fuse.Refit{Ridge: 0.1}}
	require.ErrorContains(t, fuse.Collect(t.Context(), a, []*models.Model{b}, fuse.Transport{}, set), "a refit asks")

	require.NoError(t, os.Remove(filepath.Join(second, "part.json")))
	refused(dir, "these", second, "is missing or not finished")
	require.NoError(t, os.RemoveAll(second))
	refused(dir, "these", second, "is missing or not finished")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "part-1-of-3"), 0o755))
	refused(dir, "these", "parts of 2 and of 3")
}
