package gomlx

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// solving returns models of texts with so many outputs that mean what problem_type says,
// and labelled samples.
func solving(t *testing.T, kind string, outputs, count int) ([]*models.Model, models.Batch) {
	net := shallow(modeltest.Classifier())
	net.Config.Labels = map[string]string{}
	for i := range outputs {
		net.Config.Labels[string(rune('0'+i))] = string(rune('a' + i))
	}
	var ms []*models.Model
	for seed := range uint64(count) {
		dir := filepath.Join(t.TempDir(), "model")
		require.NoError(t, randomModel(t, net, seed+1).Save(dir))
		path := filepath.Join(dir, "config.json")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		changed := strings.Replace(string(text), "{", `{"problem_type": "`+kind+`",`, 1)
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
		m, err := models.Open(dir)
		require.NoError(t, err)
		ms = append(ms, m)
	}
	samples, err := modeltest.Batch(ms[0], 7, 3)
	require.NoError(t, err)
	return ms, samples
}

// meanLoss is what torch's MSELoss or BCEWithLogitsLoss, with the mean of probabilities
// in place of those of one model, makes of logits and labels, and the share of labels
// that are told right.
func meanLoss(kind string, logits [][]float64, labels []float32) (loss, right float64) {
	for i, want := range labels {
		y, answer := float64(want), 0.0
		for _, l := range logits {
			v := l[i]
			if kind == models.MultiLabel {
				v = 1 / (1 + math.Exp(-v))
			}
			answer += v / float64(len(logits))
		}
		if kind == models.Regression {
			loss += (answer - y) * (answer - y)
			continue
		}
		loss -= y*math.Log(answer) + (1-y)*math.Log(1-answer)
		if (answer > 0.5) == (y > 0.5) {
			right++
		}
	}
	n := float64(len(labels))
	return loss / n, right / n
}

// TestProblems: networks that answer in numbers or in independent classes are scored,
// trained and filtered by their own loss, alone and as an ensemble.
func TestProblems(t *testing.T) {
	d := openDevice(t)
	for _, c := range []struct {
		kind    string
		outputs int
	}{{models.Regression, 1}, {models.Regression, 3}, {models.MultiLabel, 3}, {models.MultiLabel, 1}} {
		ms, samples := solving(t, c.kind, c.outputs, 2)
		var logits [][]float64
		for _, m := range ms {
			logits = append(logits, modeltest.Logits(m, samples))
		}
		for n := 1; n <= 2; n++ {
			loss, right := meanLoss(c.kind, logits[:n], samples[models.Labels].Floats)
			got, err := d.Evaluate(t.Context(), samples, 4, ms[:n]...)
			require.NoError(t, err)
			require.InDelta(t, loss, got.Loss, 1e-4, c.kind)
			require.InDelta(t, right, got.Accuracy, 1e-6, c.kind)
			require.Equal(t, Score{got.Accuracy, got.Loss, 7, c.kind}, got)
		}
		all, _ := meanLoss(c.kind, logits[:1], samples[models.Labels].Floats)
		kept, err := d.FilterByLoss(t.Context(), samples, all, ms[0])
		require.NoError(t, err)
		below, err := d.Evaluate(t.Context(), kept, 7, ms[0])
		require.NoError(t, err)
		require.Less(t, below.Loss, all)
		require.Less(t, kept.Len(), 7)

		tr := trainer(t, d, ms[0], TrainConfig{Steps: 20, LR: 0.02})
		first, err := tr.Update(t.Context(), samples)
		require.NoError(t, err)
		require.InDelta(t, all, first, 1e-4)
		for range 19 {
			_, err = tr.Update(t.Context(), samples)
			require.NoError(t, err)
		}
		last, err := tr.Loss(t.Context(), samples)
		require.NoError(t, err)
		require.Less(t, last, first/2, c.kind)
	}
}

// TestProblemsTaught: a student learns the numbers or probabilities of its teachers, and
// maps are learned from them; no model teaches one whose answers mean something else.
func TestProblemsTaught(t *testing.T) {
	d := openDevice(t)
	regressions, samples := solving(t, models.Regression, 1, 2)
	multi, others := solving(t, models.MultiLabel, 1, 2)
	delete(samples, models.Labels)
	delete(others, models.Labels)
	for kind, ms := range map[string][]*models.Model{models.Regression: regressions, models.MultiLabel: multi} {
		student, err := d.Student(ms[0], ms[1:], nil, TrainConfig{Steps: 30, LR: 0.02})
		require.NoError(t, err)
		for range 30 {
			_, err = student.Update(t.Context(), samples)
			require.NoError(t, err)
		}
		m, err := student.Model()
		require.NoError(t, err)
		require.NoError(t, student.Close())
		want, before := modeltest.Logits(ms[1], samples), modeltest.Logits(ms[0], samples)
		after := modeltest.Logits(m, samples)
		var far, near float64
		for i := range want {
			far += math.Abs(want[i] - before[i])
			near += math.Abs(want[i] - after[i])
		}
		require.Less(t, near, far/2, kind)
		spaces, _ := ms[0].Graph.Spaces()
		learner := d.Learner(func(int) (models.Batch, error) { return samples, nil })
		learner.Config = TrainConfig{Steps: 2, LR: 0.01}
		_, err = learner.Learn(t.Context(), ms, spaces)
		require.NoError(t, err)
	}
	_, err := d.Student(multi[0], regressions[:1], nil, TrainConfig{Steps: 1, LR: 0.1})
	require.ErrorContains(t, err, "problem_type")
	_, others = solving(t, models.MultiLabel, 1, 1)
	_, err = d.Evaluate(t.Context(), others, 4, multi[0], regressions[0])
	require.ErrorContains(t, err, "problem_type")
}
