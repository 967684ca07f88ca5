package lab

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/text"
)

// openDevice opens a device that compiles nothing: these networks are tiny.
func openDevice(t *testing.T) *gomlx.Device {
	t.Setenv("GOMLX_BACKEND", "go:ops_sequential")
	d, err := gomlx.Open(t.Context(), func(p models.Progress) { t.Log(p.Item) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// fewImages is a task of few images.
func fewImages(t *testing.T) *Images {
	i := &Images{Train: dataset.Shapes(48, 1), Test: dataset.Shapes(24, 2), Name: "shapes", Label: "few shapes"}
	var err error
	i.Norm, err = i.Train.Norm()
	require.NoError(t, err)
	return i
}

// fewTexts is a task of few sequences.
func fewTexts() *Text {
	few := text.Corpus{Train: dataset.Encyclopedia(150, 1), Test: dataset.Encyclopedia(10, 2)}
	return &Text{Corpus: Corpus{Corpus: few, Name: "few", Label: "a short encyclopedia"}, Most: 20}
}

func tinyImageNet(seed uint64) Net { return Net{Width: 8, Depth: 1, Heads: 2, Patch: 16, Seed: seed} }
func tinyTextNet(seed uint64) Net {
	return Net{Width: 8, Depth: 1, Heads: 2, Words: 100, Length: 8, Seed: seed}
}

// TestScratch: a network is trained, scored on the way, saved and leaves no
// checkpoint of its training.
func TestScratch(t *testing.T) {
	d := openDevice(t)
	for _, c := range []struct {
		task Task
		net  Net
	}{{fewImages(t), tinyImageNet(3)}, {fewTexts(), tinyTextNet(3)}} {
		s, err := NewScratch(c.task, c.net, Schedule{Epochs: 0.5, Batch: 16, LR: 1e-2})
		require.NoError(t, err)
		s.Out = filepath.Join(t.TempDir(), "out")
		s.Finish = func(m *models.Model) (*models.Model, error) {
			m.Files["finished.txt"] = []byte("yes")
			return m, nil
		}
		require.NoError(t, s.Train(t.Context(), d))
		m, err := models.Open(s.Out)
		require.NoError(t, err)
		require.Equal(t, s.Model().Params.Shapes(), m.Params.Shapes())
		require.NotEqual(t, s.Model().Params, m.Params)
		require.FileExists(t, filepath.Join(s.Out, "finished.txt"))
		require.Equal(t, describe(c.task, 3), report.TrainingData(m), "the card says what it was trained on")
		require.Contains(t, report.Describe("parent", m).Text, describe(c.task, 3))
		fused := Comparison{Parents: []*models.Model{m, m}}.carded(m)
		require.Contains(t, report.TrainingData(fused), "parent 1: "+describe(c.task, 3))
		require.NoFileExists(t, s.Out+checkpointSuffix)
		require.NoError(t, c.task.Accept([]*models.Model{m, m}), "what was trained on a task fits it")
	}
	_, err := NewScratch(fewImages(t), Net{Width: 8, Depth: 1, Heads: 3, Patch: 16}, Schedule{})
	require.ErrorContains(t, err, "attend")
	_, err = NewScratch(fewImages(t), Net{Class: "nonesuch", Width: 8, Depth: 1, Heads: 2, Patch: 16}, Schedule{})
	require.ErrorContains(t, err, "SimpleViT")
	_, err = NewScratch(fewTexts(), Net{Width: 8, Depth: 1, Heads: 2, Words: 10, Length: 8}, Schedule{})
	require.ErrorContains(t, err, "a vocabulary of a short encyclopedia")
}

// TestResume interrupts a training and resumes it: the result is the same, bit for
// bit, as that of a training in one go.
func TestResume(t *testing.T) {
	d := openDevice(t)
	for _, c := range []struct {
		task Task
		net  Net
	}{{fewImages(t), tinyImageNet(5)}, {fewTexts(), tinyTextNet(5)}} {
		m, err := c.task.Network(c.net)
		require.NoError(t, err)
		config := gomlx.TrainConfig{Steps: 6, LR: 1e-3, Warmup: 2, WeightDecay: 0.05, Clip: 1}
		trainer, err := d.Trainer(m, config)
		require.NoError(t, err)
		defer trainer.Close() //nolint:gocritic // there are two
		checkpoint := filepath.Join(t.TempDir(), "training.safetensors")
		run := func(ctx context.Context, path string, look func(int) error) (*models.Model, error) {
			require.NoError(t, trainer.Reset(m))
			return training{label: "training", trainer: trainer, config: config, batches: c.task.Batches(nil, 8, 5).At,
				checkpoint: path,
				every:      1, look: func(step int, _ *models.Model) error { return look(step) }}.run(ctx)
		}
		whole, err := run(t.Context(), "", func(int) error { return nil })
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		_, err = run(ctx, checkpoint, func(step int) error {
			if step == 3 {
				cancel()
			}
			return nil
		})
		require.ErrorIs(t, err, context.Canceled)
		var steps []int
		resumed, err := run(t.Context(), checkpoint, func(step int) error { steps = append(steps, step); return nil })
		require.NoError(t, err)
		require.Equal(t, []int{4, 5, 6}, steps, "steps after the interruption")
		require.Equal(t, whole.Params, resumed.Params)
		failed := errors.New("cannot look")
		_, err = run(t.Context(), "", func(int) error { return failed })
		require.ErrorIs(t, err, failed)
	}
}
