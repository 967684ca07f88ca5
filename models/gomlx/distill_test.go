package gomlx

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestStudent: a model learns from teachers of another width what they answer,
// no batch has labels, and the loss is the cross-entropy with their mean answer.
func TestStudent(t *testing.T) {
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
			tr, err := d.Student(m, teachers, nil, TrainConfig{Steps: 60, LR: 1e-2, MinLR: 1e-2})
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
	_, err := d.Student(nil, nil, nil, TrainConfig{})
	require.Error(t, err)
}

// answered are the mean probabilities that models answer, in float64.
func answered(batch models.Batch, ms ...*models.Model) []float64 {
	var out []float64
	for _, m := range ms {
		logits := modeltest.Logits(m, batch)
		classes := m.Classes()
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
		loss -= p * math.Log(own[i]) / float64(len(own)/m.Classes())
	}
	return loss
}

// TestDistiller: a model trained from any start comes nearer to the mean answer of all
// on samples that it was not trained on, as a method of package fuse.
func TestDistiller(t *testing.T) {
	d, net := openDevice(t), modeltest.ViT()
	anchor, err := net.Model(1)
	require.NoError(t, err)
	other, err := net.Model(2)
	require.NoError(t, err)
	batch, held := net.Batch(32, 3), net.Batch(40, 4)
	distiller := d.Distiller(func(int) (models.Batch, error) { return batch, nil })
	distiller.Config, distiller.HeldOut, distiller.Every = TrainConfig{Steps: 40, LR: 1e-2}, held, 10
	for name, start := range map[string]fuse.Method{"anchor": nil, "matched": fuse.Matching{}} {
		var stages []string
		lowest := math.Inf(1)
		distiller.Observe = func(p models.Progress) {
			if p.Stage == StageHeldOut {
				stages, lowest = append(stages, fmt.Sprint(p.Done)), min(lowest, p.Loss)
			}
		}
		begin := anchor
		if start != nil {
			begin, _, err = fuse.Into(t.Context(), anchor, []*models.Model{other}, start, nil)
			require.NoError(t, err)
		}
		got, _, err := fuse.Into(t.Context(), anchor, []*models.Model{other},
			fuse.Distil{Start: start, Distiller: distiller}, nil)
		require.NoError(t, err)
		require.Equal(t, []string{"0", "10", "20", "30", "40"}, stages, name)
		portion := held.Slice(0, 32) // all that fills a batch
		require.InDelta(t, lowest, taught(got, portion, anchor, other), 1e-4, name)
		require.Less(t, lowest, taught(begin, portion, anchor, other), name)
	}
}

// TestDistillerKeepsTheBest: where training leads away, the student comes back as it
// was, as soon as patience ends; weights say whose answers are learned.
func TestDistillerKeepsTheBest(t *testing.T) {
	d, net := openDevice(t), modeltest.ViT()
	anchor, err := net.Model(1)
	require.NoError(t, err)
	other, err := net.Model(2)
	require.NoError(t, err)
	updates := 0
	distiller := d.Distiller(func(int) (models.Batch, error) { return net.Batch(8, 3), nil })
	distiller.Config, distiller.HeldOut = TrainConfig{Steps: 50, LR: 1, MinLR: 1}, net.Batch(8, 4)
	distiller.Every, distiller.Patience = 2, 3
	distiller.Observe = func(p models.Progress) {
		if p.Stage == StageDistil {
			updates++
		}
	}
	got, err := distiller.Distil(t.Context(), anchor, []*models.Model{anchor, other}, []float64{1, 0})
	require.NoError(t, err)
	require.Equal(t, anchor.Params, got.Params)
	require.Equal(t, 6, updates)

	distiller.HeldOut, distiller.Patience, distiller.Config.LR = nil, 0, 1e-9
	got, err = distiller.Distil(t.Context(), anchor, []*models.Model{anchor, other}, []float64{1, 0})
	require.NoError(t, err)
	require.NotEqual(t, anchor.Params, got.Params, "the last state where nothing is held out")

	distiller.Every = -1
	_, err = distiller.Distil(t.Context(), anchor, []*models.Model{other}, nil)
	require.ErrorContains(t, err, "at least 0")
	_, err = d.Distiller(nil).Distil(t.Context(), anchor, []*models.Model{other}, nil)
	require.ErrorContains(t, err, "there are no Batches")
}

// TestStudentIgnores: positions whose label is models.Ignore teach nothing.
func TestStudentIgnores(t *testing.T) {
	d, net := openDevice(t), modeltest.MaskedLM()
	student, err := net.Model(1)
	require.NoError(t, err)
	teacher, err := net.Model(2)
	require.NoError(t, err)
	batch := net.Batch(4, 3)
	tr, err := d.Student(student, []*models.Model{teacher}, nil, TrainConfig{Steps: 1, LR: 1e-3})
	require.NoError(t, err)
	defer tr.Close()
	labelled, err := tr.Loss(t.Context(), batch)
	require.NoError(t, err)
	labels := batch[models.Labels].Ints
	delete(batch, models.Labels)
	all, err := tr.Loss(t.Context(), batch)
	require.NoError(t, err)
	require.InDelta(t, taught(student, batch, teacher), all, 1e-4)
	own, theirs, classes := answered(batch, student), answered(batch, teacher), student.Classes()
	var sum, count float64
	for i, label := range labels {
		if label == models.Ignore {
			continue
		}
		count++
		for k := i * classes; k < (i+1)*classes; k++ {
			sum -= theirs[k] * math.Log(own[k])
		}
	}
	require.Less(t, count, float64(len(labels)))
	require.InDelta(t, sum/count, labelled, 1e-4)
}
