package gomlx

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// causal returns small GPT-2s, tied, with weights drawn by seeds 1, 2, ….
func causal(t *testing.T, n int) []*models.Model {
	c := models.GPT2Config{Hidden: 8, Layers: 1, Heads: 2, Act: graph.GELUTanh, Eps: 1e-5, Vocab: 11, Positions: 7,
		ScaleByWidth: true, Tied: true}
	var out []*models.Model
	for k := range n {
		m, err := modeltest.Random(models.GPT2(), c, uint64(k+1))
		require.NoError(t, err)
		out = append(out, m)
	}
	return out
}

// sentences returns sequences labelled as transformers wants them, with the tokens
// themselves, in which 0, 1, 2 and 3 take turns.
func sentences(n int) models.Batch {
	const length = 7
	ids := make([]int32, n*length)
	for i := range ids {
		ids[i] = int32((i/length + i%length) % 4)
	}
	a := models.Array{Shape: []int{n, length}, Ints: ids}
	return models.Batch{"input_ids": a, models.Labels: a}
}

// nextTokenLosses are the losses of a network in float64 where the logits of each
// token but the last are scored on the label of the next.
func nextTokenLosses(m *models.Model, batch models.Batch) (losses []float64) {
	logits, labels := modeltest.Logits(m, batch), batch[models.Labels]
	classes, length := m.Classes(), labels.Shape[1]
	for i := range labels.Ints {
		if i%length == length-1 || labels.Ints[i+1] < 0 {
			continue
		}
		var total float64
		for _, v := range logits[i*classes : (i+1)*classes] {
			total += math.Exp(v)
		}
		losses = append(losses, math.Log(total)-logits[i*classes+int(labels.Ints[i+1])])
	}
	return losses
}

// TestNextToken: scores, training losses and filters of a causal language model are
// those of the next token, and labels that are ignored count in none.
func TestNextToken(t *testing.T) {
	d, m := openDevice(t), causal(t, 1)[0]
	batch := sentences(5)
	batch[models.Labels] = models.Array{Shape: batch[models.Labels].Shape, Ints: append([]int32(nil),
		batch[models.Labels].Ints...)}
	for _, ignored := range []int{0, 3, 4, 20} { // a first token is the target of none
		batch[models.Labels].Ints[ignored] = models.Ignore
	}
	losses := nextTokenLosses(m, batch)
	require.Len(t, losses, 5*6-3)
	var want float64
	for _, v := range losses {
		want += v / float64(len(losses))
	}
	score, err := d.Evaluate(t.Context(), batch, 2, m)
	require.NoError(t, err)
	require.Equal(t, len(losses), score.Count)
	require.InDelta(t, want, score.Loss, 1e-5)

	trainer, err := d.Trainer(m, TrainConfig{Steps: 1, LR: 1e-3})
	require.NoError(t, err)
	defer trainer.Close()
	loss, err := trainer.Loss(t.Context(), batch)
	require.NoError(t, err)
	require.InDelta(t, want, loss, 1e-5)
	loss, err = trainer.Update(t.Context(), batch)
	require.NoError(t, err)
	require.InDelta(t, want, loss, 1e-5)

	var worst float64
	for i := range batch.Len() {
		var mean float64
		own := nextTokenLosses(m, batch.Slice(i, i+1))
		for _, v := range own {
			mean += v / float64(len(own))
		}
		worst = max(worst, mean)
	}
	kept, err := d.FilterByLoss(t.Context(), batch, worst-1e-4, m)
	require.NoError(t, err)
	require.Equal(t, batch.Len()-1, kept.Len())
}

// TestTrainCausal: a causal language model learns the next token, from labels and
// from teachers, and maps are learned on text with labels and without.
func TestTrainCausal(t *testing.T) {
	d, ms := openDevice(t), causal(t, 3)
	batches := func(int) (models.Batch, error) { return sentences(4), nil }
	teachers := make([]*models.Model, 2)
	for k := range teachers {
		trainer, err := d.Trainer(ms[k], TrainConfig{Steps: 150, LR: 3e-2})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, trainer.Close()) })
		require.NoError(t, Fit(t.Context(), trainer, batches, FitOptions{}))
		teachers[k], err = trainer.Model()
		require.NoError(t, err)
		score, err := d.Evaluate(t.Context(), sentences(4), 4, teachers[k])
		require.NoError(t, err)
		require.Equal(t, 1., score.Accuracy)
		require.Less(t, score.Loss, 0.1)
	}
	distiller := d.Distiller(func(int) (models.Batch, error) {
		batch := sentences(4)
		delete(batch, models.Labels)
		return batch, nil
	})
	distiller.Config = TrainConfig{Steps: 150, LR: 3e-2}
	student, err := distiller.Distil(t.Context(), ms[2], teachers, nil)
	require.NoError(t, err)
	score, err := d.Evaluate(t.Context(), sentences(4), 4, student)
	require.NoError(t, err)
	require.Equal(t, 1., score.Accuracy)

	for name, from := range map[string]Batches{"labels": batches, "no labels": distiller.Batches} {
		t.Run(name, func(t *testing.T) {
			learner := d.Learner(from)
			learner.Config = TrainConfig{Steps: 25, LR: 2e-2}
			var losses []float64
			learner.Observe = func(p models.Progress) { losses = append(losses, p.Loss) }
			matching := fuse.Matching{Learner: learner, Inexact: true}
			_, _, err := fuse.Into(t.Context(), teachers[0], teachers[1:], matching, nil)
			require.NoError(t, err)
			require.Less(t, losses[24], losses[0])
		})
	}
}
