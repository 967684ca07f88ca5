package fuse_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestHead: the output layer alone is fitted and answers more like the mean of the models;
// where that is its own answer already, it stays.
func TestHead(t *testing.T) {
	net := modeltest.ViT()
	a, b, batch := model(t, net, 1), model(t, net, 2), net.Batch(40, 9)
	set := &fuse.Settings{Calibration: modeltest.Calibration{Data: batch, Tokens: align.All{}}}
	method := fuse.Head{Ridge: 1e-6}
	off := func(m *models.Model) (sum float64) {
		x, y, z := modeltest.Logits(a, batch), modeltest.Logits(b, batch), modeltest.Logits(m, batch)
		for i := range x {
			sum += ((x[i]+y[i])/2 - z[i]) * ((x[i]+y[i])/2 - z[i])
		}
		return sum
	}
	before := copied(a.Params)
	fitted, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, method, set)
	require.NoError(t, err)
	require.Less(t, off(fitted), 0.9*off(a))
	sameBits(t, before, a.Params)
	for name, p := range fitted.Params {
		require.Equal(t, strings.HasPrefix(name, "classifier."), !slices.Equal(p.Data, a.Params[name].Data), name)
	}
	same, _, err := fuse.Into(t.Context(), a, []*models.Model{a}, method, set)
	require.NoError(t, err)
	require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(a, batch), modeltest.Logits(same, batch)), 1e-4)
}

// TestHeadErrors: what has no output layer of its own, no samples or other shapes.
func TestHeadErrors(t *testing.T) {
	net, wide, tied := modeltest.ViT(), modeltest.ViT(), modeltest.MaskedLM()
	wide.Config.MLP *= 2
	a := model(t, net, 1)
	of := func(anchor, other *models.Model, h fuse.Head, c fuse.Calibration) error {
		_, _, err := fuse.Into(t.Context(), anchor, []*models.Model{other}, h, &fuse.Settings{Calibration: c})
		return err
	}
	require.ErrorIs(t, of(a, model(t, net, 2), fuse.Head{Ridge: 1}, nil), fuse.ErrNoCalibration)
	require.ErrorContains(t, of(a, model(t, net, 2), fuse.Head{}, calibration(net)), "the ridge is 0")
	require.ErrorContains(t, of(a, model(t, wide, 1), fuse.Head{Ridge: 1}, calibration(net)), "head: model 1")
	require.ErrorContains(t, of(model(t, tied, 1), model(t, tied, 2), fuse.Head{Ridge: 1}, calibration(tied)),
		"no output layer of its own")
}
