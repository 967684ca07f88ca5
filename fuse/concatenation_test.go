package fuse_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// doubled is net at twice the width.
func doubled(net modeltest.Net) modeltest.Net { return timesAsWide(net, 2) }

// timesAsWide is net at k times the width.
func timesAsWide(net modeltest.Net, k int) modeltest.Net {
	net.Config.Hidden, net.Config.MLP, net.Config.HeadDim = k*net.Config.Hidden, k*net.Config.MLP, k*net.Config.HeadDim
	return net
}

// squaredDistance is the sum of the squares of the differences of two lists of logits.
func squaredDistance(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += (v - b[i]) * (v - b[i])
	}
	return sum
}

// TestConcatenationOfCopies: two networks that compute alike with half of their width, in
// different bases, lie side by side in one that computes what they do, at any weights.
func TestConcatenationOfCopies(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			narrow, frame := model(t, net, 1), model(t, doubled(net), 2)
			if !turns(narrow) {
				return // a norm over units that nothing writes to changes what it lets through
			}
			share, _, err := models.Shares(frame, 2, 0)
			require.NoError(t, err)
			if share.Dims() != narrow.Dims() {
				return // under rotary positions a share has fewer heads
			}
			p, _, err := transported(t, narrow, frame, fuse.Matching{}, nil)
			require.NoError(t, err)
			wide := frame.With(p)
			for _, weights := range [][]float64{nil, {0.3, 0.7}} {
				fused, report, err := fuse.Into(t.Context(), wide, []*models.Model{permuted(t, wide, 4)}, fuse.Concatenation{},
					&fuse.Settings{Weights: weights})
				require.NoError(t, err)
				require.Equal(t, wide.Shapes(), fused.Shapes())
				require.Len(t, report.Nodes, len(wide.Graph.Nodes))
				batch := net.Batch(3, 4)
				want, got := modeltest.Logits(narrow, batch), modeltest.Logits(fused, batch)
				require.LessOrEqual(t, modeltest.Apart(t, want, got), 20*turned)
			}
		})
	}
}

// TestConcatenationOfThree: three networks that compute alike with a third of their width.
func TestConcatenationOfThree(t *testing.T) {
	net := modeltest.ViT()
	narrow, frame := model(t, net, 1), model(t, timesAsWide(net, 3), 2)
	p, _, err := transported(t, narrow, frame, fuse.Matching{}, nil)
	require.NoError(t, err)
	wide := frame.With(p)
	fused, report, err := fuse.Into(t.Context(), wide, []*models.Model{permuted(t, wide, 4), permuted(t, wide, 5)},
		fuse.Concatenation{}, &fuse.Settings{Weights: []float64{0.5, 0.2, 0.3}})
	require.NoError(t, err)
	require.Len(t, report.Nodes, 2*len(wide.Graph.Nodes))
	require.Equal(t, 1, report.Nodes[len(report.Nodes)-1].Source)
	batch := net.Batch(3, 4)
	want, got := modeltest.Logits(narrow, batch), modeltest.Logits(fused, batch)
	require.LessOrEqual(t, modeltest.Apart(t, want, got), 20*turned)
}

// TestConcatenationRefitted: with a refit, different models side by side answer more like
// their ensemble than without.
func TestConcatenationRefitted(t *testing.T) {
	for _, net := range []modeltest.Net{doubled(modeltest.ViT()), doubled(modeltest.Classifier())} {
		t.Run(net.Arch.Class, func(t *testing.T) {
			a, b, batch := model(t, net, 1), model(t, net, 2), net.Batch(64, 9)
			ensemble := modeltest.Logits(a, batch)
			for i, v := range modeltest.Logits(b, batch) {
				ensemble[i] = (ensemble[i] + v) / 2
			}
			set := &fuse.Settings{Calibration: modeltest.Calibration{Data: batch}}
			from := func(m fuse.Method) float64 {
				fused, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, m, set)
				require.NoError(t, err)
				return squaredDistance(modeltest.Logits(fused, batch), ensemble)
			}
			laid := from(fuse.Concatenation{})
			set.Refit = &fuse.Refit{Ridge: 1e-3}
			require.Less(t, from(fuse.Concatenation{}), 0.9*laid)
		})
	}
}

// TestConcatenationRefused: what cannot lie side by side is said.
func TestConcatenationRefused(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	for _, c := range []struct {
		others  []*models.Model
		weights []float64
		want    string
	}{
		{[]*models.Model{b}, []float64{0, 1}, "above 0"},
		{[]*models.Model{b, b}, nil, "8 units cannot be shared by 3 models"},
	} {
		_, _, err := fuse.Into(t.Context(), a, c.others, fuse.Concatenation{}, &fuse.Settings{Weights: c.weights})
		require.ErrorContains(t, err, c.want)
	}
	pinned := modeltest.SimpleViT()
	pinned.Config.Hidden, pinned.Config.HeadDim = 16, 4
	a, b = model(t, pinned, 1), model(t, pinned, 2)
	_, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Concatenation{}, nil)
	var mismatch *fuse.MismatchError
	require.ErrorAs(t, err, &mismatch, "the stream is pinned")
}

// TestRandom: between equal widths maps that are drawn leave a model what it computes.
func TestRandom(t *testing.T) {
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			a, b, batch := model(t, net, 1), model(t, net, 2), net.Batch(3, 4)
			p, _, err := transported(t, b, a, fuse.Random{Seed: 3}, nil)
			require.NoError(t, err)
			require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(b, batch), modeltest.Logits(a.With(p), batch)), 5*turned)
			again, _, err := transported(t, b, a, fuse.Random{Seed: 3}, nil)
			require.NoError(t, err)
			require.Equal(t, p, again)
		})
	}
}
