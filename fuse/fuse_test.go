package fuse_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
	"github.com/otfuse/otfuse/ot"
)

// sinkhorn is the paper's aligner, within a tolerance that it reaches fast.
func sinkhorn(f align.Features) align.Aligner {
	return align.Units{Features: f, Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}},
		Solver: ot.Sinkhorn{Reg: 0.08}}
}

func policies() map[string]graph.Policy {
	return map[string]graph.Policy{"main": graph.Main{}, "skip": graph.Skip{}, "identity": graph.Identity{},
		"average": graph.Average{}, "weighted-scalar": graph.WeightedScalar{}, "weighted-matrix": graph.WeightedMatrix{}}
}

func calibration(net modeltest.Net) modeltest.Calibration {
	return modeltest.Calibration{Data: net.Batch(6, 1), Tokens: align.Window{Size: 2}}
}

// sameBits fails unless both hold the same tensors, bit for bit.
func sameBits(t *testing.T, want, got models.Params) {
	t.Helper()
	require.Len(t, got, len(want))
	for name, w := range want {
		require.Equal(t, w.Shape, got[name].Shape, name)
		require.Equal(t, w.DType, got[name].DType, name)
		for i, v := range w.Data {
			require.Equal(t, math.Float32bits(v), math.Float32bits(got[name].Data[i]), "%s at %d", name, i)
		}
	}
}

func near(t *testing.T, want, got models.Params, tol float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for name, w := range want {
		require.LessOrEqual(t, modeltest.Apart(t, w.Data, got[name].Data), tol, name)
	}
}

func copied(p models.Params) models.Params {
	out := models.Params{}
	for name, t := range p {
		t.Data = slices.Clone(t.Data)
		out[name] = t
	}
	return out
}

// TestAnchorAlone: with all the weight the anchor comes back bit for bit, in
// its own types, whatever is done to the others, which stay as they are.
func TestAnchorAlone(t *testing.T) {
	for _, net := range modeltest.Nets() {
		anchor, other := model(t, net, 1), model(t, net, 2)
		a, o := copied(anchor.Params), copied(other.Params)
		got, _, err := fuse.Into(t.Context(), anchor, []*models.Model{other}, fuse.Transport{},
			&fuse.Settings{Weights: []float64{1, 0}})
		require.NoError(t, err)
		sameBits(t, a, got.Params)
		sameBits(t, a, anchor.Params)
		sameBits(t, o, other.Params)
	}
}

// TestSelf: a model fused with itself is itself.
func TestSelf(t *testing.T) {
	for _, net := range modeltest.Nets() {
		m := model(t, net, 3)
		got, _, err := fuse.Into(t.Context(), m, []*models.Model{m}, fuse.Transport{Aligner: exactly()}, nil)
		require.NoError(t, err)
		near(t, m.Params, got.Params, 1e-6)
		got, _, err = fuse.Into(t.Context(), m, []*models.Model{m, m}, fuse.Transport{Aligner: exactly()}, nil)
		require.NoError(t, err)
		near(t, m.Params, got.Params, 1e-6)
	}
}

// TestRelabelledCopy: fusing with a relabelled copy gives the anchor, where the
// plain mean of the two does not.
func TestRelabelledCopy(t *testing.T) {
	net := modeltest.ViT()
	m := model(t, net, 3)
	copies := []*models.Model{permuted(t, m, 4), permuted(t, m, 5)}
	got, _, err := fuse.Into(t.Context(), m, copies, fuse.Transport{Aligner: exactly()},
		&fuse.Settings{Weights: []float64{0.5, 0.2, 0.3}})
	require.NoError(t, err)
	near(t, m.Params, got.Params, 1e-6)
	mean, _, err := fuse.Into(t.Context(), m, copies[:1], fuse.Vanilla{}, nil)
	require.NoError(t, err)
	const name = "vit.encoder.layer.0.output.dense.weight"
	require.Greater(t, modeltest.Apart(t, m.Params[name].Data, mean.Params[name].Data), 0.1)
}

// TestOrder: the order of the others is irrelevant, their weights go with them.
func TestOrder(t *testing.T) {
	for _, net := range modeltest.Nets() {
		a, b, c := model(t, net, 1), model(t, net, 2), model(t, net, 3)
		one, report, err := fuse.Into(t.Context(), a, []*models.Model{b, c}, fuse.Transport{},
			&fuse.Settings{Weights: []float64{0.5, 0.3, 0.2}})
		require.NoError(t, err)
		two, _, err := fuse.Into(t.Context(), a, []*models.Model{c, b}, fuse.Transport{},
			&fuse.Settings{Weights: []float64{0.5, 0.2, 0.3}})
		require.NoError(t, err)
		near(t, one.Params, two.Params, 1e-6)
		require.Greater(t, modeltest.Apart(t, one.Params[firstLinear(a)].Data, a.Params[firstLinear(a)].Data), 1e-3)
		require.Len(t, report.Nodes, 2*len(a.Graph.Nodes))
		require.Equal(t, 1, report.Nodes[len(report.Nodes)-1].Source)
	}
}

// TestLinked: models that stay on disk make the same as models in memory.
func TestLinked(t *testing.T) {
	for _, net := range modeltest.Nets() {
		var held, linked []*models.Model
		for seed := range uint64(3) {
			dir := filepath.Join(t.TempDir(), "model")
			require.NoError(t, model(t, net, 1+seed).Save(dir))
			h, err := models.Open(dir, net.Arch)
			require.NoError(t, err)
			l, err := models.Link(dir, net.Arch)
			require.NoError(t, err)
			require.Nil(t, l.Params)
			held, linked = append(held, h), append(linked, l)
		}
		w := []float64{0.5, 0.3, 0.2}
		for _, c := range []struct {
			method fuse.Method
			set    fuse.Settings
		}{
			{fuse.Vanilla{}, fuse.Settings{Weights: w}},
			{fuse.Vanilla{}, fuse.Settings{Weights: w, Refit: &fuse.Refit{Ridge: 0.1}, Calibration: calibration(net)}},
			{fuse.Transport{}, fuse.Settings{Weights: w}},
			{fuse.Transport{Residual: graph.WeightedMatrix{}}, fuse.Settings{Weights: w, Calibration: calibration(net)}},
			{fuse.Transport{}, fuse.Settings{Weights: w, Refit: &fuse.Refit{Ridge: 0.1}, Calibration: calibration(net)}},
			{fuse.Matching{}, fuse.Settings{Weights: w}},
			{fuse.Matching{}, fuse.Settings{Weights: []float64{0.6, 0.4}}},
			{fuse.Matching{Restarts: 1, Rounds: 3}, fuse.Settings{Weights: []float64{1, 0}, KeepMaps: true}},
		} {
			n := len(c.set.Weights)
			want, report, err := fuse.Into(t.Context(), held[0], held[1:n], c.method, &c.set)
			require.NoError(t, err)
			got, same, err := fuse.Into(t.Context(), linked[0], linked[1:n], c.method, &c.set)
			require.NoError(t, err)
			sameBits(t, want.Params, got.Params)
			require.Equal(t, want.Extra, got.Extra)
			sameReports(t, report, same)
		}
	}
}

// sameReports requires two reports to say the same.
func sameReports(t *testing.T, a, b *fuse.Report) {
	t.Helper()
	require.Len(t, b.Nodes, len(a.Nodes))
	for i, n := range a.Nodes {
		m := b.Nodes[i]
		require.Equal(t, n.Name, m.Name)
		require.InDelta(t, n.Cost, m.Cost, 1e-9, n.Name)
		require.InDelta(t, n.Diagonal, m.Diagonal, 1e-9, n.Name)
		require.InDelta(t, n.Kept(), m.Kept(), 1e-6, n.Name)
		require.Equal(t, n.Push(), m.Push(), n.Name)
	}
}

// TestLinkedNaN: a weight that is no number is named when it is read.
func TestLinkedNaN(t *testing.T) {
	net := modeltest.ViT()
	dir := filepath.Join(t.TempDir(), "model")
	m := model(t, net, 2)
	require.NoError(t, m.Save(dir))
	spoil(t, filepath.Join(dir, safetensors.SingleName), firstLinear(m))
	linked, err := models.Link(dir)
	require.NoError(t, err)
	for _, method := range []fuse.Method{fuse.Vanilla{}, fuse.Transport{}, fuse.Matching{}} {
		_, _, err = fuse.Into(t.Context(), model(t, net, 1), []*models.Model{linked}, method, nil)
		require.ErrorContains(t, err, firstLinear(m))
		require.ErrorContains(t, err, "NaN at position 3")
	}
}

// spoil makes value 3 of a tensor of float32 in a file NaN.
func spoil(t *testing.T, path, name string) {
	f, err := safetensors.Open(path)
	require.NoError(t, err)
	defer f.Close()
	stored := map[string]safetensors.Tensor{}
	for _, own := range f.Names() {
		stored[own], err = f.Tensor(own)
		require.NoError(t, err)
	}
	binary.LittleEndian.PutUint32(stored[name].Data[3*4:], math.Float32bits(float32(math.NaN())))
	require.NoError(t, safetensors.WriteFile(path, stored, f.Metadata()))
}

func firstLinear(m *models.Model) string {
	for n, p := range m.Graph.Params() {
		if n.Op == graph.Linear {
			return p.Name
		}
	}
	return ""
}

// TestMean: the fused model is the weighted mean of the anchor and what is
// transported.
func TestMean(t *testing.T) {
	net := modeltest.ViT()
	a, b, c := model(t, net, 1), model(t, net, 2), model(t, net, 3)
	w := []float64{0.2, 0.5, 0.3}
	got, _, err := fuse.Into(t.Context(), a, []*models.Model{b, c}, fuse.Transport{}, &fuse.Settings{Weights: w})
	require.NoError(t, err)
	pb, _, err := transported(t, b, a, fuse.Transport{}, nil)
	require.NoError(t, err)
	pc, _, err := transported(t, c, a, fuse.Transport{}, nil)
	require.NoError(t, err)
	for name, g := range got.Params {
		for i, v := range g.Data {
			want := w[0]*float64(a.Params[name].Data[i]) + w[1]*float64(pb[name].Data[i]) + w[2]*float64(pc[name].Data[i])
			require.InDelta(t, want, float64(v), 1e-6, name)
		}
	}
	average, err := (&fuse.Aligned{Anchor: a, Others: []models.Params{pb, pc}}).Mean(w)
	require.NoError(t, err)
	sameBits(t, average.Params, got.Params)
}

func TestWeights(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	for _, w := range [][]float64{{}, {1}, {0.5, 0.6}, {0.5, 0.5, 0}, {math.NaN(), 0.5}, {math.Inf(1), math.Inf(-1)},
		{math.Inf(1), 0}} {
		_, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Transport{}, &fuse.Settings{Weights: w})
		require.ErrorIs(t, err, fuse.ErrWeights, "%v", w)
		_, err = (&fuse.Aligned{Anchor: a, Others: []models.Params{b.Params}}).Mean(w)
		require.ErrorIs(t, err, fuse.ErrWeights, "%v", w)
	}
	// Weights whose sum is 1 and whose mean is not finite.
	_, err := (&fuse.Aligned{Anchor: a, Others: []models.Params{b.Params, b.Params}}).Mean([]float64{1e300, -1e300, 1})
	require.ErrorIs(t, err, fuse.ErrWeights)
	beyond := fuse.Settings{Weights: []float64{1.5, -0.5}}
	_, _, err = fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Vanilla{}, &beyond)
	require.ErrorIs(t, err, fuse.ErrWeights)
	require.ErrorContains(t, err, "set Extrapolate if that is meant")
	beyond.Extrapolate = true
	_, _, err = fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Vanilla{}, &beyond)
	require.NoError(t, err)

	_, _, err = fuse.Into(t.Context(), a, nil, nil, nil)
	require.ErrorContains(t, err, "nothing to fuse")
}

func TestMeanMismatch(t *testing.T) {
	net := modeltest.ViT()
	a := model(t, net, 1)
	net.Config.MLP++
	var mismatch *fuse.MismatchError
	wider := model(t, net, 2)
	_, err := (&fuse.Aligned{Anchor: a, Others: []models.Params{wider.Params}}).Mean(nil)
	require.ErrorAs(t, err, &mismatch)
	_, _, err = fuse.Into(t.Context(), a, []*models.Model{wider}, fuse.Vanilla{}, nil)
	require.ErrorAs(t, err, &mismatch)
	fewer := maps.Clone(a.Params)
	delete(fewer, "classifier.bias")
	_, err = (&fuse.Aligned{Anchor: a, Others: []models.Params{fewer}}).Mean(nil)
	require.ErrorAs(t, err, &mismatch)
}

// TestMismatch: what cannot be fused is told by name on both sides.
func TestMismatch(t *testing.T) {
	anchor := model(t, modeltest.ViT(), 1)
	no := false
	for name, c := range map[string]struct {
		change func(*modeltest.Net)
		what   string
	}{
		"depth":    {func(n *modeltest.Net) { n.Config.Layers = 3 }, "depth"},
		"patches":  {func(n *modeltest.Net) { n.Config.Patch = 3 }, "projection"},
		"image":    {func(n *modeltest.Net) { n.Config.Image = 8 }, "position"},
		"channels": {func(n *modeltest.Net) { n.Config.Channels = 1 }, "projection"},
		"classes":  {func(n *modeltest.Net) { n.Config.Labels = map[string]string{"0": "a", "1": "b"} }, "classifier"},
		"act":      {func(n *modeltest.Net) { n.Config.Act = graph.ReLU }, "relu"},
		"bias":     {func(n *modeltest.Net) { n.Config.QKVBias = &no }, "query"},
		"kind":     {func(n *modeltest.Net) { *n = modeltest.SimpleViT() }, "SimpleViT"},
	} {
		t.Run(name, func(t *testing.T) {
			net := modeltest.ViT()
			c.change(&net)
			other := model(t, net, 2)
			_, _, err := transported(t, other, anchor, nil, nil)
			var mismatch *fuse.MismatchError
			require.ErrorAs(t, err, &mismatch)
			require.NotEqual(t, mismatch.Source, mismatch.Anchor)
			require.ErrorContains(t, err, c.what)
			_, _, err = fuse.Into(t.Context(), anchor, []*models.Model{model(t, modeltest.ViT(), 3), other}, nil, nil)
			require.ErrorAs(t, err, &mismatch)
			require.ErrorContains(t, err, "model 2")
		})
	}
}

// TestWidths: models of other widths take the shapes of the anchor, under every
// policy and every way to align queries and keys.
func TestWidths(t *testing.T) {
	for _, small := range modeltest.Nets() {
		wide := small
		wide.Config.Hidden, wide.Config.MLP, wide.Config.HeadDim = 12, 20, 2*small.Config.HeadDim
		for _, pair := range [][2]modeltest.Net{{small, wide}, {wide, small}} {
			anchor, src := model(t, pair[0], 1), model(t, pair[1], 2)
			for name, policy := range policies() {
				for _, qk := range []fuse.QK{fuse.Separate, fuse.Shared, fuse.Joint} {
					t.Run(fmt.Sprint(small.Arch.Class, pair[1].Config.Hidden, "→", pair[0].Config.Hidden, "/", name, "/", qkName(qk)),
						func(t *testing.T) {
							cal := calibration(pair[0])
							for _, f := range []align.Features{align.Weights{Prep: []align.Prep{align.UnitNorm{}}},
								align.Activations{Prep: []align.Prep{align.Standardize{}}}} {
								got, report, err := fuse.Into(t.Context(), anchor, []*models.Model{src},
									fuse.Transport{Aligner: sinkhorn(f), Residual: policy, QK: qk},
									&fuse.Settings{Calibration: cal, KeepMaps: true})
								require.NoError(t, err)
								require.NoError(t, anchor.Graph.Check(got.Params.Shapes()))
								for name, p := range got.Params {
									for _, v := range p.Data {
										require.False(t, math.IsNaN(float64(v)) || math.IsInf(float64(v), 0), name)
									}
								}
								checkPushes(t, report, src, anchor)
							}
						})
				}
			}
		}
	}
}

// checkPushes fails unless every solved map makes convex combinations of the
// source's units for each unit of the anchor.
func checkPushes(t *testing.T, report *fuse.Report, src, anchor *models.Model) {
	solved := 0
	for _, r := range report.Nodes {
		push := r.Push()
		if push == nil || r.Flow != graph.Solve {
			continue
		}
		solved++
		n, m := push.Dims()
		require.Equal(t, anchor.Graph.Find(r.Name).Units, m, r.Name)
		require.Zero(t, n%src.Graph.Find(r.Name).Units, r.Name) // joint ones come from both
		for j := range m {
			var sum float64
			for i := range n {
				sum += push.At(i, j)
			}
			require.InDelta(t, 1, sum, 1e-3, r.Name)
		}
	}
	require.NotZero(t, solved)
}

// byHand is a network of so many hidden units.
type byHand int

func (hidden byHand) Spec() (models.Spec, error) {
	var b graph.Builder
	h := b.Linear("up", b.Input("x"), int(hidden), graph.Conv(1, 1))
	g, err := b.Output(b.Linear("down", b.Act("act", h, graph.ReLU), 1, graph.NoBias))
	return models.Spec{Graph: g}, err
}

// TestTransportByHand follows a network of one hidden layer through
// W̃ = Sᵀ W, then W R for its reader, with S = P diag(1/b) and R = diag(1/a) P.
func TestTransportByHand(t *testing.T) {
	build := func(hidden int, w, bias, down []float32) *models.Model {
		m, err := models.New(models.Architecture{Class: "Hand"}, byHand(hidden), models.Params{
			"up.weight":   {Shape: []int{hidden, 1, 1, 1}, Data: w},
			"up.bias":     {Shape: []int{hidden}, Data: bias},
			"down.weight": {Shape: []int{1, hidden}, Data: down}})
		require.NoError(t, err)
		return m
	}
	// Of three units, the first two of which are alike, two take: P = [[1/3 0] [1/6 1/6] [0 1/3]].
	src := build(3, []float32{1, 2, 3}, []float32{10, 20, 30}, []float32{1, 2, 4})
	anchor := build(2, []float32{1, 3}, []float32{0, 0}, []float32{0, 0})
	got, _, err := transported(t, src, anchor, fuse.Transport{Aligner: exactly()}, nil)
	require.NoError(t, err)
	require.InDeltaSlice(t, []float32{(2*1 + 2) / 3., (2 + 2*3) / 3.}, got["up.weight"].Data, 1e-6)
	require.InDeltaSlice(t, []float32{(2*10 + 20) / 3., (20 + 2*30) / 3.}, got["up.bias"].Data, 1e-5)
	require.InDeltaSlice(t, []float32{1 + 2/2., 2/2. + 4}, got["down.weight"].Data, 1e-6)
}

func TestCancelled(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	_, _, err := fuse.Into(ctx, a, []*models.Model{b}, fuse.Transport{}, &fuse.Settings{Observe: func(models.Progress) {
		if seen++; seen == 5 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 5, seen)
}

// TestObserve: the observer sees every node once, with what the report says.
func TestObserve(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, qk := range []fuse.QK{fuse.Separate, fuse.Shared, fuse.Joint} {
			a, b := model(t, net, 1), model(t, net, 2)
			var seen []string
			_, report, err := transported(t, b, a, fuse.Transport{QK: qk},
				&fuse.Settings{KeepMaps: true, Observe: func(p models.Progress) { seen = append(seen, p.Item) }})
			require.NoError(t, err)
			var want, told []string
			for i, n := range a.Graph.Nodes {
				want = append(want, n.Name)
				r := report.Nodes[i]
				told = append(told, r.Name)
				require.Equal(t, a.Graph.Find(r.Name).Flow(), r.Flow)
				require.Equal(t, a.Graph.Find(r.Name).Tie != nil, r.Tied)
				if r.Flow == graph.Solve {
					require.Positive(t, r.Entropy, r.Name)
					require.Positive(t, r.Diagonal, r.Name)
					require.Less(t, r.Diagonal, 1., r.Name)
				}
				if r.Flow == graph.Fix {
					require.Nil(t, r.Push(), r.Name)
				}
			}
			require.Equal(t, want, told)
			require.Equal(t, want, seen)
		}
	}
}

// TestNotConverged: a plan that did not converge is used and marked.
func TestNotConverged(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	aligner := sinkhorn(align.Weights{}).(align.Units)
	aligner.Solver = ot.Sinkhorn{Reg: 0.001, MaxIter: 1, Tol: 1e-15}
	_, report, err := transported(t, b, a, fuse.Transport{Aligner: aligner}, &fuse.Settings{KeepMaps: true})
	require.NoError(t, err)
	warned := 0
	for _, r := range report.Nodes {
		if r.Warning != nil {
			warned++
			require.Equal(t, graph.Solve, r.Flow)
			require.NotNil(t, r.Push())
		}
	}
	require.NotZero(t, warned)
}

type broken struct{ err error }

func (broken) Needs() align.Needs { return align.Needs{} }
func (b broken) Align(context.Context, ...align.Site) (align.Result, error) {
	return align.Result{}, b.err
}

// TestAlignerFails: the error says at which node.
func TestAlignerFails(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	why := errors.New("no plan today")
	_, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Transport{Aligner: broken{why}}, nil)
	require.ErrorIs(t, err, why)
	require.ErrorContains(t, err, "vit.embeddings.patch_embeddings.projection")
}

// TestNoPlan: an aligner that leaves units where they are cannot change widths.
func TestNoPlan(t *testing.T) {
	net := modeltest.ViT()
	a := model(t, net, 1)
	_, _, err := transported(t, model(t, net, 2), a, fuse.Transport{Aligner: broken{}}, nil)
	require.NoError(t, err)
	net.Config.Hidden = 12
	_, _, err = transported(t, model(t, net, 2), a, fuse.Transport{Aligner: broken{}}, nil)
	var mismatch *fuse.MismatchError
	require.ErrorAs(t, err, &mismatch)
	require.ErrorContains(t, err, "vit.embeddings.patch_embeddings.projection")
}

func TestNoCalibration(t *testing.T) {
	net := modeltest.ViT()
	a, b := model(t, net, 1), model(t, net, 2)
	for _, c := range []struct {
		method fuse.Method
		refit  *fuse.Refit
	}{
		{method: fuse.Transport{Aligner: fuse.OnActivations()}}, {method: fuse.Transport{Residual: graph.WeightedScalar{}}},
		{method: fuse.Transport{Residual: graph.WeightedMatrix{}}}, {method: fuse.Matching{Mix: 0.5}},
		{fuse.Vanilla{}, &fuse.Refit{Ridge: 0.1}},
	} {
		_, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, c.method, &fuse.Settings{Refit: c.refit})
		require.ErrorIs(t, err, fuse.ErrNoCalibration)
		set := &fuse.Settings{Refit: c.refit, Calibration: calibration(net)}
		_, _, err = fuse.Into(t.Context(), a, []*models.Model{b}, c.method, set)
		require.NoError(t, err)
	}
}

// TestWeighted: where one branch is silent, its plan has no say.
func TestWeighted(t *testing.T) {
	net := modeltest.ViT()
	for _, policy := range []graph.Policy{graph.WeightedScalar{}, graph.WeightedMatrix{}} {
		a, b := model(t, net, 1), model(t, net, 2)
		for _, name := range []string{"vit.encoder.layer.0.attention.output.dense.weight",
			"vit.encoder.layer.0.attention.output.dense.bias"} {
			silent := a.Params[name]
			silent.Data = make([]float32, len(silent.Data))
			a.Params[name] = silent
		}
		_, report, err := transported(t, b, a, fuse.Transport{Residual: policy},
			&fuse.Settings{Calibration: calibration(net), KeepMaps: true})
		require.NoError(t, err)
		at := func(name string) fuse.NodeReport {
			i := slices.IndexFunc(report.Nodes, func(r fuse.NodeReport) bool { return r.Name == name })
			require.GreaterOrEqual(t, i, 0)
			return report.Nodes[i]
		}
		require.InDeltaSlice(t, at("vit.embeddings").Push().RawMatrix().Data,
			at("vit.encoder.layer.0.attention").Push().RawMatrix().Data, 1e-9)
		require.Greater(t, modeltest.Apart(t, at("vit.encoder.layer.0.output").Push().RawMatrix().Data,
			at("vit.embeddings").Push().RawMatrix().Data), 1e-4)
	}
}

// TestDeterministic: the same bytes on one processor and on two.
func TestDeterministic(t *testing.T) {
	net := modeltest.ViT()
	net.Config.Hidden, net.Config.MLP, net.Config.Heads, net.Config.Layers = 192, 256, 4, 1
	a, b := model(t, net, 1), model(t, net, 2)
	fused := func(procs int) models.Params {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		m, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Transport{}, nil)
		require.NoError(t, err)
		return m.Params
	}
	sameBits(t, fused(1), fused(2))
}
