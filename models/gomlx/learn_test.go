package gomlx

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestLearner: what is learned, with labels and without, lowers the loss of the
// model in the middle and leaves the other model as it was.
func TestLearner(t *testing.T) {
	d := openDevice(t)
	for labelled, nets := range map[string][]modeltest.Net{"labels": {modeltest.ViT(), modeltest.SimpleViT()},
		"no labels": {modeltest.ViT(), modeltest.MaskedLM(), modeltest.Llama()}} {
		for _, net := range nets {
			t.Run(net.Arch.Class+" "+labelled, func(t *testing.T) {
				anchor, err := net.Model(1)
				require.NoError(t, err)
				other, err := net.Model(2)
				require.NoError(t, err)
				batch := net.Batch(16, 3)
				if labelled == "labels" {
					batch[models.Labels] = answers(t, d, anchor, batch)
				}
				var losses []float64
				learner := &Learner{device: d, Config: TrainConfig{Steps: 40, LR: 2e-2},
					Batches: func(int) (models.Batch, error) { return batch, nil },
					Observe: func(p models.Progress) { losses = append(losses, p.Loss) }}
				p, err := transported(t, other, anchor, fuse.Matching{Learner: learner}, nil)
				require.NoError(t, err)
				require.Len(t, losses, 40)
				require.Less(t, mean(losses[30:]), mean(losses[:5]))
				delete(batch, models.Labels)
				want, got := modeltest.Logits(other, batch), modeltest.Logits(anchor.With(p), batch)
				for i := range want {
					require.InDelta(t, want[i], got[i], 5e-5)
				}
			})
		}
	}
}

// transported returns the parameters of src that a method makes in the basis of
// anchor.
func transported(t *testing.T, src, anchor *models.Model, m fuse.Method, s *fuse.Settings) (models.Params, error) {
	aligned, _, err := fuse.Align(t.Context(), anchor, []*models.Model{src}, m, s)
	if err != nil {
		return nil, err
	}
	return aligned.Others[0], nil
}

// TestLearnerInexact: a post-norm stream that may turn loses less in the middle
// than one that may only be permuted.
func TestLearnerInexact(t *testing.T) {
	net, losses := modeltest.MaskedLM(), map[bool]float64{}
	anchor, err := net.Model(1)
	require.NoError(t, err)
	other, err := net.Model(2)
	require.NoError(t, err)
	d, batch := openDevice(t), net.Batch(16, 3)
	delete(batch, models.Labels)
	for _, inexact := range []bool{false, true} {
		learner := &Learner{device: d, Config: TrainConfig{Steps: 40, LR: 2e-2},
			Batches: func(int) (models.Batch, error) { return batch, nil }}
		fused, _, err := fuse.Into(t.Context(), anchor, []*models.Model{other},
			fuse.Matching{Learner: learner, Inexact: inexact}, nil)
		require.NoError(t, err)
		losses[inexact] = taught(fused, batch, anchor, other)
	}
	require.Less(t, losses[true], losses[false])
}

// TestMatchedAlone: every map of matching, applied alone, leaves the logits as
// they were, for every architecture with the group that it has: of one source,
// and of several that are matched together.
func TestMatchedAlone(t *testing.T) {
	d := openDevice(t)
	for _, net := range modeltest.Nets() {
		t.Run(net.Arch.Class, func(t *testing.T) {
			var ms []*models.Model
			for seed := range uint64(3) {
				m, err := net.Model(seed + 1)
				require.NoError(t, err)
				ms = append(ms, m)
			}
			batch := net.Batch(4, 5)
			method, set := fuse.Matching{Mix: 0.4}, &fuse.Settings{Calibration: &Calibration{device: d, Data: net.Batch(8, 9)}}
			for _, others := range [][]*models.Model{ms[1:2], ms[1:]} {
				aligned, _, err := fuse.Align(t.Context(), ms[0], others, method, set)
				require.NoError(t, err)
				for i, m := range append(ms[:1:1], others...) {
					want, err := d.Logits(t.Context(), m, batch)
					require.NoError(t, err)
					got, err := d.Logits(t.Context(), ms[0].With(aligned.Params()[i]), batch)
					require.NoError(t, err)
					for k, v := range want.Floats {
						require.InDelta(t, v, got.Floats[k], 5e-5, "model %d", i)
					}
				}
			}
		})
	}
}

// TestNarrowIntoWide: a narrow model computes in the basis of a wide one what it
// did, through GoMLX, matched and learned further; where the stream is pinned or
// a norm stands behind the sum, hidden units and heads may be more and no more.
func TestNarrowIntoWide(t *testing.T) {
	d := openDevice(t)
	for _, net := range []modeltest.Net{modeltest.ViT(), modeltest.SimpleViT(), modeltest.MaskedLM()} {
		t.Run(net.Arch.Class, func(t *testing.T) {
			wide := net
			wide.Config.MLP += 5
			switch net.Arch.Class {
			case modeltest.ViT().Arch.Class:
				wide.Config.Hidden += 4
			case modeltest.SimpleViT().Arch.Class:
				wide.Config.HeadDim++
			}
			anchor, err := wide.Model(1)
			require.NoError(t, err)
			narrow, err := net.Model(2)
			require.NoError(t, err)
			batch := net.Batch(16, 3)
			delete(batch, models.Labels)
			want, err := d.Logits(t.Context(), narrow, batch)
			require.NoError(t, err)
			learner := &Learner{device: d, Config: TrainConfig{Steps: 10, LR: 2e-2},
				Batches: func(int) (models.Batch, error) { return batch, nil }}
			var moved []models.Params
			for _, l := range []fuse.Learner{nil, learner} {
				p, err := transported(t, narrow, anchor, fuse.Matching{Learner: l}, nil)
				require.NoError(t, err)
				got, err := d.Logits(t.Context(), anchor.With(p), batch)
				require.NoError(t, err)
				for k, v := range want.Floats {
					require.InDelta(t, v, got.Floats[k], 2e-4)
				}
				moved = append(moved, p)
			}
			require.NotEqual(t, moved[0], moved[1])
		})
	}
}

// TestLearnerOfSeveral: three models are turned together.
func TestLearnerOfSeveral(t *testing.T) {
	net, ms := modeltest.ViT(), []*models.Model{}
	for seed := range uint64(3) {
		m, err := net.Model(seed + 1)
		require.NoError(t, err)
		ms = append(ms, m)
	}
	batch := net.Batch(16, 3)
	delete(batch, models.Labels)
	var losses []float64
	learner := &Learner{device: openDevice(t), Config: TrainConfig{Steps: 40, LR: 2e-2},
		Batches: func(int) (models.Batch, error) { return batch, nil },
		Observe: func(p models.Progress) { losses = append(losses, p.Loss) }}
	plain, _, err := fuse.Align(t.Context(), ms[0], ms[1:], fuse.Matching{}, nil)
	require.NoError(t, err)
	aligned, _, err := fuse.Align(t.Context(), ms[0], ms[1:], fuse.Matching{Learner: learner}, nil)
	require.NoError(t, err)
	require.Less(t, mean(losses[30:]), mean(losses[:5]))
	for i, m := range ms {
		want, got := modeltest.Logits(m, batch), modeltest.Logits(ms[0].With(aligned.Params()[i]), batch)
		for k := range want {
			require.InDelta(t, want[k], got[k], 5e-5)
		}
	}
	for i := range ms[1:] {
		require.NotEqual(t, plain.Others[i], aligned.Others[i], "model %d was not turned", i+1)
	}
}

// answers are the classes that m finds most likely.
func answers(t *testing.T, d *Device, m *models.Model, batch models.Batch) models.Array {
	logits, err := d.Logits(context.Background(), m, batch)
	require.NoError(t, err)
	classes := logits.Shape[len(logits.Shape)-1]
	out := models.Array{Shape: logits.Shape[:len(logits.Shape)-1]}
	for i := 0; i < len(logits.Floats); i += classes {
		best, at := math.Inf(-1), 0
		for k, v := range logits.Floats[i : i+classes] {
			if float64(v) > best {
				best, at = float64(v), k
			}
		}
		out.Ints = append(out.Ints, int32(at))
	}
	return out
}

func mean(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v / float64(len(x))
	}
	return s
}

// TestLearnerKeepsTheBest: of the maps on the way those are returned that do best on
// samples that are held out, which are the first where learning leads away, as soon as
// patience ends.
func TestLearnerKeepsTheBest(t *testing.T) {
	d, net := openDevice(t), modeltest.ViT()
	anchor, err := net.Model(1)
	require.NoError(t, err)
	other, err := net.Model(2)
	require.NoError(t, err)
	learned := func(l *Learner) []models.Params {
		aligned, _, err := fuse.Align(t.Context(), anchor, []*models.Model{other}, fuse.Matching{Learner: l}, nil)
		require.NoError(t, err)
		return aligned.Others
	}
	batch, held := net.Batch(32, 3), net.Batch(40, 4)
	delete(batch, models.Labels)
	delete(held, models.Labels)
	var losses []float64
	updates := 0
	learner := &Learner{device: d, Config: TrainConfig{Steps: 40, LR: 2e-2}, HeldOut: held, Every: 10,
		Batches: func(int) (models.Batch, error) { return batch, nil },
		Observe: func(p models.Progress) {
			if p.Stage == StageHeldOut {
				losses = append(losses, p.Loss)
				return
			}
			updates++
		}}
	got := learned(learner)
	require.Len(t, losses, 5)
	require.Less(t, slices.Min(losses), losses[0])
	mean, err := (&fuse.Aligned{Anchor: canonical(t, anchor), Others: got}).Mean(nil)
	require.NoError(t, err)
	require.InDelta(t, slices.Min(losses), taught(mean, held.Slice(0, 32), anchor, other), 1e-4)

	losses, updates = nil, 0
	batch[models.Labels], held[models.Labels] = constantLabels(32, 0), constantLabels(40, 1)
	learner.Every, learner.Patience = 2, 3
	learned(learner)
	require.Len(t, losses, slices.Index(losses, slices.Min(losses))+1+learner.Patience)
	require.Equal(t, 2*(len(losses)-1), updates)
	require.Less(t, updates, learner.Config.Steps)
	learner.Every = -1
	_, _, err = fuse.Align(t.Context(), anchor, []*models.Model{other}, fuse.Matching{Learner: learner}, nil)
	require.ErrorContains(t, err, "at least 0")
}

// constantLabels labels samples alike.
func constantLabels(n int, label int32) models.Array {
	return models.Array{Shape: []int{n}, Ints: slices.Repeat([]int32{label}, n)}
}

// canonical is the form in which matching returns its anchor.
func canonical(t *testing.T, m *models.Model) *models.Model {
	c, err := fuse.Canonical(m)
	require.NoError(t, err)
	return c
}
