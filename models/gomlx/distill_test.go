package gomlx

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestDistiller: a model learns from teachers of another width what they answer,
// no batch has labels, and the loss is the cross-entropy with their mean answer.
func TestDistiller(t *testing.T) {
	d := openDevice(t)
	for _, net := range []modeltest.Net{modeltest.ViT(), modeltest.Classifier()} {
		t.Run(net.Arch.Class, func(t *testing.T) {
			wide := net
			wide.Config.MLP += 3
			m, err := net.Model(1)
			require.NoError(t, err)
			var teachers []*models.Model
			for seed := range uint64(2) {
				teacher, err := wide.Model(seed + 5)
				require.NoError(t, err)
				teachers = append(teachers, teacher)
			}
			tr, err := d.Distiller(m, teachers, TrainConfig{Steps: 60, LR: 1e-2, MinLR: 1e-2})
			require.NoError(t, err)
			defer func() { require.NoError(t, tr.Close()) }()
			batch := net.Batch(8, 3)
			delete(batch, models.Labels)
			first, err := tr.Update(t.Context(), batch)
			require.NoError(t, err)
			require.InDelta(t, taught(m, batch, teachers...), first, 1e-4)
			for range 59 {
				_, err = tr.Update(t.Context(), batch)
				require.NoError(t, err)
			}
			trained, err := tr.Model()
			require.NoError(t, err)
			least := 0.0 // of an answer that is the mean itself
			for _, p := range answered(batch, teachers...) {
				least -= p * math.Log(p) / float64(batch.Len())
			}
			require.Less(t, taught(trained, batch, teachers...)-least, 0.3*(first-least))
		})
	}
	_, err := d.Distiller(nil, nil, TrainConfig{})
	require.Error(t, err)
}

// answered are the mean probabilities that models answer, in float64.
func answered(batch models.Batch, ms ...*models.Model) []float64 {
	var out []float64
	for _, m := range ms {
		logits := modeltest.Logits(m, batch)
		classes := len(logits) / batch.Len()
		if out == nil {
			out = make([]float64, len(logits))
		}
		for i := range logits {
			var sum float64
			for _, v := range logits[i/classes*classes : (i/classes+1)*classes] {
				sum += math.Exp(v)
			}
			out[i] += math.Exp(logits[i]) / sum / float64(len(ms))
		}
	}
	return out
}

// taught is the cross-entropy of m with what teachers answer.
func taught(m *models.Model, batch models.Batch, teachers ...*models.Model) (loss float64) {
	own := answered(batch, m)
	for i, p := range answered(batch, teachers...) {
		loss -= p * math.Log(own[i]) / float64(batch.Len())
	}
	return loss
}
