package gomlx

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// wanted asks for all that a fusion may ask for: every solved node, queries
// and keys stacked, and every branch of every sum.
func wanted(g *graph.Graph) align.Request {
	want := align.Request{Self: true}
	for _, n := range g.Nodes {
		if n.Flow() == graph.Solve && n.Op != graph.Table {
			want.Sites = append(want.Sites, []*graph.Node{n})
		}
		if n.Op == graph.Attend {
			want.Sites = append(want.Sites, n.Args[:2])
		}
		if n.Op == graph.Add {
			for _, a := range n.Args {
				if a.Op != graph.Const && a.Op != graph.Table {
					want.Magnitudes = append(want.Magnitudes, a)
				}
			}
		}
	}
	return want
}

// sameStats fails unless the moments agree: sums of squares relative to the
// size of what was summed.
func sameStats(t *testing.T, want, got *align.Statistics, tol float64) {
	t.Helper()
	require.Len(t, got.Moments, len(want.Moments))
	for i, w := range want.Moments {
		g := got.Moments[i]
		require.Equal(t, w.N, g.N)
		same := func(what string, a, b []float64, scale float64) {
			t.Helper()
			require.LessOrEqual(t, modeltest.Apart(t, a, b), tol*scale, "%s of site %d", what, i)
		}
		same("MeanX", w.MeanX, g.MeanX, 1)
		same("MeanY", w.MeanY, g.MeanY, 1)
		same("ScatterX", w.ScatterX, g.ScatterX, w.N)
		same("ScatterY", w.ScatterY, g.ScatterY, w.N)
		same("Cross", w.Cross.RawMatrix().Data, g.Cross.RawMatrix().Data, w.N)
		require.Equal(t, w.Self == nil, g.Self == nil)
		if w.Self != nil {
			same("Self", w.Self.RawMatrix().Data, g.Self.RawMatrix().Data, w.N)
		}
	}
	require.Len(t, got.Magnitudes, len(want.Magnitudes))
	for id, w := range want.Magnitudes {
		require.LessOrEqual(t, modeltest.Apart(t, w, got.Magnitudes[id]), tol, "magnitude of node %d", id)
	}
}

// TestCollect compares with moments of all activations at once, in float64,
// over networks of different widths. Seven samples by three leave a batch that
// has to be filled up; what fills it up does not count.
func TestCollect(t *testing.T) {
	d := openDevice(t)
	filters := []align.Tokens{align.All{}, align.Lead{}, align.Window{Size: 2}, align.Pool{}}
	for k, net := range []modeltest.Net{shallow(modeltest.ViT()), shallow(modeltest.SimpleViT()),
		shallow(modeltest.Words())} {
		wide := net
		wide.Config.Hidden, wide.Config.MLP = 12, 10
		src, anchor := randomModel(t, wide, 1), randomModel(t, net, 2)
		want := wanted(anchor.Graph)
		data := net.Batch(7, 3)
		for i, tokens := range filters {
			if (k > 0 || i == 1) && i != k {
				continue // what is compiled takes long
			}
			narrow, size := i%2 == 0, []int{0, 3, 1, 7}[i]
			t.Run(fmt.Sprintf("%s/%T", net.Arch.Class, tokens), func(t *testing.T) {
				exact, err := modeltest.Calibration{Data: data, Tokens: tokens, Narrow: narrow}.Collect(t.Context(), src, anchor,
					want)
				require.NoError(t, err)
				c := &Calibration{device: d, Data: data, Tokens: tokens, Narrow: narrow, Batch: size}
				got, err := c.Collect(t.Context(), src, anchor, want)
				require.NoError(t, err)
				sameStats(t, exact, got, 1e-5)
			})
		}
	}
}

// TestCollectInBatches: how many samples go at a time does not matter.
func TestCollectInBatches(t *testing.T) {
	d := openDevice(t)
	net := shallow(modeltest.ViT())
	src, anchor, data := randomModel(t, net, 1), randomModel(t, net, 2), net.Batch(7, 3)
	want := wanted(anchor.Graph)
	want.Self = false
	var first *align.Statistics
	for _, size := range []int{7, 4, 100} {
		got, err := (&Calibration{device: d, Data: data, Batch: size}).Collect(t.Context(), src, anchor, want)
		require.NoError(t, err)
		if first == nil {
			first = got
		}
		sameStats(t, first, got, 1e-5)
	}
}

func TestCollectErrors(t *testing.T) {
	d := openDevice(t)
	net := shallow(modeltest.ViT())
	m := randomModel(t, net, 1)
	_, err := d.Calibration(nil, nil).Collect(t.Context(), m, m, align.Request{})
	require.ErrorContains(t, err, "empty")
	_, err = (&Calibration{device: d, Data: models.Batch{"x": net.Batch(2, 1)["pixel_values"]}}).Collect(t.Context(), m, m,
		align.Request{})
	require.ErrorContains(t, err, "pixel_values")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = (&Calibration{device: d, Data: net.Batch(2, 1)}).Collect(ctx, m, m, wanted(m.Graph))
	require.ErrorIs(t, err, context.Canceled)
	labels := net.Batch(2, 1)
	labels[models.Labels].Ints[0] = 1000
	_, err = (&Calibration{device: d, Data: labels}).Collect(t.Context(), m, m, wanted(m.Graph))
	require.NoError(t, err, "labels are not looked at")
}

// TestFusionOnActivations: fusion with statistics from the device is fusion
// with statistics in float64, under the policies that need more of them, also
// where one branch of a sum is constant.
func TestFusionOnActivations(t *testing.T) {
	d := openDevice(t)
	for _, c := range []struct {
		net    modeltest.Net
		method fuse.Transport
	}{{modeltest.ViT(), fuse.Transport{Residual: graph.WeightedMatrix{}, QK: fuse.Joint}},
		{shallow(modeltest.SimpleViT()), fuse.Transport{Residual: graph.WeightedScalar{}}},
		{shallow(modeltest.MaskedLM()), fuse.Transport{Residual: graph.WeightedScalar{}, QK: fuse.Shared}}} {
		net, method := c.net, c.method
		src, anchor, data := randomModel(t, net, 1), randomModel(t, net, 2), net.Batch(6, 3)
		method.Aligner = fuse.OnActivations()
		set := &fuse.Settings{Calibration: modeltest.Calibration{Data: data, Tokens: align.Window{Size: 2}, Narrow: true}}
		want, err := transported(t, src, anchor, method, set)
		require.NoError(t, err)
		set.Calibration = &Calibration{device: d, Data: data, Tokens: align.Window{Size: 2}, Narrow: true, Batch: 4}
		got, err := transported(t, src, anchor, method, set)
		require.NoError(t, err)
		for name, w := range want {
			require.LessOrEqual(t, modeltest.Apart(t, w.Data, got[name].Data), 1e-3, "%s of %s", name, net.Arch.Class)
		}
	}
}

// TestCollectFarFromZero: activations whose mean is a thousand times their
// spread keep the digits of what varies.
func TestCollectFarFromZero(t *testing.T) {
	d := openDevice(t)
	net := shallow(modeltest.ViT())
	m := randomModel(t, net, 1)
	bias := m.Params["vit.embeddings.patch_embeddings.projection.bias"].Data
	for i := range bias {
		bias[i] = 1000
	}
	n := m.Graph.Find("vit.embeddings.patch_embeddings.projection")
	want := align.Request{Sites: [][]*graph.Node{{n}}}
	data := net.Batch(40, 3)
	exact, err := modeltest.Calibration{Data: data, Tokens: align.All{}}.Collect(t.Context(), m, m, want)
	require.NoError(t, err)
	got, err := (&Calibration{device: d, Data: data, Batch: 8}).Collect(t.Context(), m, m, want)
	require.NoError(t, err)
	for i, v := range exact.Moments[0].ScatterX {
		require.InEpsilon(t, v, got.Moments[0].ScatterX[i], 1e-3)
		require.False(t, math.IsNaN(got.Moments[0].ScatterX[i]))
	}
}

// TestPaddingDoesNotCount: what is read at padding enters no moment, so texts
// that are padded, with whatever words, have the moments of those that are not.
func TestPaddingDoesNotCount(t *testing.T) {
	d := openDevice(t)
	net := shallow(modeltest.MaskedLM())
	src, anchor := randomModel(t, net, 1), randomModel(t, net, 2)
	want := wanted(anchor.Graph)
	long := net.Batch(5, 3)
	tokens, kept := long["input_ids"].Shape[1], long["input_ids"].Shape[1]-2
	short := models.Batch{}
	for name, a := range long {
		if name == models.Labels {
			continue
		}
		s := models.Array{Shape: []int{5, kept}}
		for i := range a.Ints {
			if i%tokens < kept {
				if name == "attention_mask" {
					a.Ints[i] = 1
				}
				s.Ints = append(s.Ints, a.Ints[i])
			} else if name == "attention_mask" {
				a.Ints[i] = 0
			}
		}
		short[name] = s
	}
	for _, filter := range []align.Tokens{align.All{}, align.Pool{}} {
		bare, err := (&Calibration{device: d, Data: short, Tokens: filter, Batch: 5}).Collect(t.Context(), src, anchor, want)
		require.NoError(t, err)
		padded, err := (&Calibration{device: d, Data: long, Tokens: filter, Batch: 3}).Collect(t.Context(), src, anchor, want)
		require.NoError(t, err)
		sameStats(t, bare, padded, 1e-5)
	}
	for i := range long["attention_mask"].Ints {
		long["attention_mask"].Ints[i] = 0
	}
	_, err := (&Calibration{device: d, Data: long}).Collect(t.Context(), src, anchor, want)
	require.ErrorContains(t, err, "padding alone")
}
