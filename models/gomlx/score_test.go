package gomlx

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// scores is the score of an ensemble in float64, and the loss of every label;
// those that do not count are NaN.
func scores(batch models.Batch, ms ...*models.Model) (s Score, loss []float64) {
	labels := batch[models.Labels].Ints
	probs := make([][]float64, len(labels))
	for _, m := range ms {
		logits := modeltest.Logits(m, batch)
		classes := len(logits) / len(labels)
		for i := range labels {
			if probs[i] == nil {
				probs[i] = make([]float64, classes)
			}
			var total float64
			for _, v := range logits[i*classes : (i+1)*classes] {
				total += math.Exp(v)
			}
			for c, v := range logits[i*classes : (i+1)*classes] {
				probs[i][c] += math.Exp(v) / total / float64(len(ms))
			}
		}
	}
	for i, label := range labels {
		if label < 0 {
			loss = append(loss, math.NaN())
			continue
		}
		best := 0
		for c, p := range probs[i] {
			if p > probs[i][best] {
				best = c
			}
		}
		loss = append(loss, -math.Log(probs[i][label]))
		s.Count++
		s.Loss += loss[i]
		if best == int(label) {
			s.Accuracy++
		}
	}
	s.Loss /= float64(s.Count)
	s.Accuracy /= float64(s.Count)
	return s, loss
}

// TestEvaluate compares with float64, one network and an ensemble, images and
// words of which some do not count; how many go at a time does not matter.
func TestEvaluate(t *testing.T) {
	d := openDevice(t)
	for _, net := range []modeltest.Net{shallow(modeltest.ViT()), shallow(modeltest.Words())} {
		ms := []*models.Model{randomModel(t, net, 1), randomModel(t, net, 2), randomModel(t, net, 3)}
		batch := net.Batch(11, 4)
		batch[models.Labels].Ints[2] = models.Ignore
		for _, some := range [][]*models.Model{ms[:1], ms} {
			want, _ := scores(batch, some...)
			for _, size := range []int{4, 64} {
				got, err := d.Evaluate(t.Context(), batch, size, some...)
				require.NoError(t, err)
				require.Equal(t, want.Count, got.Count)
				require.Less(t, got.Count, len(batch[models.Labels].Ints))
				require.InDelta(t, want.Accuracy, got.Accuracy, 1e-12)
				require.InDelta(t, want.Loss, got.Loss, 1e-4)
			}
		}
	}
}

// TestEnsembleOfOne: a network with itself is no better than alone, in loss too.
func TestEnsembleOfOne(t *testing.T) {
	d := openDevice(t)
	net := shallow(modeltest.ViT())
	m, batch := randomModel(t, net, 1), net.Batch(8, 2)
	one, err := d.Evaluate(t.Context(), batch, 8, m)
	require.NoError(t, err)
	two, err := d.Evaluate(t.Context(), batch, 8, m, m)
	require.NoError(t, err)
	require.Equal(t, one.Accuracy, two.Accuracy)
	require.InDelta(t, one.Loss, two.Loss, 1e-5)
}

// TestBelow keeps the samples whose loss is below the bound in every model.
func TestBelow(t *testing.T) {
	d := openDevice(t)
	for _, net := range []modeltest.Net{shallow(modeltest.ViT()), shallow(modeltest.Words())} {
		a, b := randomModel(t, net, 1), randomModel(t, net, 2)
		batch := net.Batch(20, 4)
		_, la := scores(batch, a)
		_, lb := scores(batch, b)
		per := len(la) / 20
		mean := func(v []float64) float64 {
			var sum, n float64
			for _, x := range v {
				if !math.IsNaN(x) {
					sum += x
					n++
				}
			}
			return sum / n
		}
		var worst []float64
		for i := range 20 {
			worst = append(worst, max(mean(la[i*per:(i+1)*per]), mean(lb[i*per:(i+1)*per])))
		}
		bound := mean(worst)
		var keep []int
		for i, v := range worst {
			if v < bound {
				keep = append(keep, i)
			}
		}
		require.NotEmpty(t, keep)
		got, err := d.FilterByLoss(t.Context(), batch, bound, a, b)
		require.NoError(t, err)
		require.Equal(t, batch.Pick(keep), got)
		_, err = d.FilterByLoss(t.Context(), batch, 0, a, b)
		require.ErrorContains(t, err, "none of 20")
	}
}

func TestScoreErrors(t *testing.T) {
	d := openDevice(t)
	net := shallow(modeltest.ViT())
	m, batch := randomModel(t, net, 1), net.Batch(3, 2)
	bare := models.Batch{"pixel_values": batch["pixel_values"]}
	_, err := d.Evaluate(t.Context(), bare, 2, m)
	require.ErrorContains(t, err, "labels")
	_, err = d.FilterByLoss(t.Context(), bare, 1, m)
	require.ErrorIs(t, err, ErrNoLabels)
	_, err = d.Evaluate(t.Context(), batch.Slice(0, 0), 2, m)
	require.Error(t, err)
	_, err = d.FilterByLoss(t.Context(), batch.Slice(0, 0), 2, m)
	require.Error(t, err)
	_, err = d.Evaluate(t.Context(), batch, 0, m)
	require.Error(t, err)
	_, err = d.Evaluate(t.Context(), batch, 2)
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Evaluate(ctx, batch, 2, m)
	require.ErrorIs(t, err, context.Canceled)
	wrong := net.Batch(3, 2)
	wrong[models.Labels].Ints[1] = 3
	_, err = d.Evaluate(t.Context(), wrong, 2, m)
	require.ErrorContains(t, err, "label 1")
	silent := net.Batch(3, 2)
	for i := range silent[models.Labels].Ints {
		silent[models.Labels].Ints[i] = models.Ignore
	}
	_, err = d.Evaluate(t.Context(), silent, 2, m)
	require.ErrorIs(t, err, ErrNoLabels)
}
