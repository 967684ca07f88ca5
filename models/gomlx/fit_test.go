package gomlx

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
)

// TestFit: a training that is cancelled and one whose batches fail resume from
// the checkpoint and end with the very bits of one in one go.
func TestFit(t *testing.T) {
	d, net := openDevice(t), tiny()[0]
	m := randomModel(t, net, 1)
	config := TrainConfig{Steps: 6, LR: 0.02, Warmup: 2, WeightDecay: 0.1, Clip: 1, Accumulate: 2}
	tr := trainer(t, d, m, config)
	var asked []int
	batches := func(step int) (models.Batch, error) {
		asked = append(asked, step)
		return net.Batch(4, uint64(step)), nil
	}
	var told []models.Progress
	observe := func(p models.Progress) { told = append(told, p) }
	require.NoError(t, Fit(t.Context(), tr, batches, FitOptions{Observe: observe}))
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, asked)
	require.Len(t, told, 7)
	require.Equal(t, models.Progress{Stage: StageTrain, Total: 6}, told[0])
	for i, p := range told[1:] {
		require.Positive(t, p.Loss)
		require.Equal(t, models.Progress{Stage: StageTrain, Done: i + 1, Total: 6, Loss: p.Loss}, p)
	}
	whole := trained(t, tr)

	path := filepath.Join(t.TempDir(), "state.safetensors")
	require.NoError(t, tr.Reset(m))
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	err := Fit(ctx, tr, batches, FitOptions{Checkpoint: path, Observe: func(p models.Progress) {
		if p.Done == 2 {
			cancel(enough)
		}
	}})
	require.ErrorIs(t, err, enough)
	require.ErrorContains(t, err, "stopped after 2 of 6 updates")

	require.NoError(t, tr.Reset(randomModel(t, net, 9)))
	lost := errors.New("the disk is gone")
	err = Fit(t.Context(), tr, func(step int) (models.Batch, error) {
		if step == 9 {
			return nil, lost
		}
		return batches(step)
	}, FitOptions{Checkpoint: path, Every: 3})
	require.ErrorIs(t, err, lost)

	asked, told = nil, nil
	require.NoError(t, tr.Reset(randomModel(t, net, 9)))
	require.NoError(t, Fit(t.Context(), tr, batches, FitOptions{Checkpoint: path, Observe: observe}))
	require.Equal(t, models.Progress{Stage: StageTrain, Item: path, Done: 4, Total: 6}, told[0])
	require.Equal(t, []int{8, 9, 10, 11}, asked)
	require.Equal(t, whole, trained(t, tr))

	require.NoError(t, tr.Reset(m))
	require.NoError(t, Fit(t.Context(), tr, noBatches(t), FitOptions{Checkpoint: path}), "a training that is finished")
	require.Equal(t, whole, trained(t, tr))
}

// noBatches fails the test when it is asked for a batch.
func noBatches(t *testing.T) Batches {
	return func(step int) (models.Batch, error) {
		t.Errorf("the batch of step %d was asked for", step)
		return nil, nil
	}
}

func TestFitErrors(t *testing.T) {
	d, net := openDevice(t), tiny()[0]
	tr := trainer(t, d, randomModel(t, net, 1), TrainConfig{Steps: 3, LR: 0.02})
	require.ErrorContains(t, Fit(t.Context(), tr, nil, FitOptions{}), "no batches")
	require.ErrorContains(t, Fit(t.Context(), tr, noBatches(t), FitOptions{Every: -1}), "Every is -1")
	path := filepath.Join(t.TempDir(), "state.safetensors")
	require.NoError(t, os.WriteFile(path, []byte("no tensors at all"), 0o644))
	require.Error(t, Fit(t.Context(), tr, noBatches(t), FitOptions{Checkpoint: path}))
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "no tensors at all", string(kept), "a file that is no checkpoint is not replaced")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Fit(ctx, tr, noBatches(t), FitOptions{}), context.Canceled)
	require.NoError(t, tr.Close())
	require.ErrorIs(t, Fit(t.Context(), tr, func(int) (models.Batch, error) { return net.Batch(2, 1), nil }, FitOptions{}),
		ErrNotOpen)
}

// TestFitAlone: one training at a time has a checkpoint, and only one of the same data.
func TestFitAlone(t *testing.T) {
	d, net := openDevice(t), tiny()[0]
	config := TrainConfig{Steps: 2, LR: 0.02}
	first, second := trainer(t, d, randomModel(t, net, 1), config), trainer(t, d, randomModel(t, net, 1), config)
	o := FitOptions{Checkpoint: filepath.Join(t.TempDir(), "new", "state.safetensors"), Data: "shapes, seed 0", Every: 1}
	batches := func(step int) (models.Batch, error) {
		err := Fit(t.Context(), second, noBatches(t), o)
		require.ErrorContains(t, err, "another process is training with "+o.Checkpoint)
		return net.Batch(2, uint64(step)), nil
	}
	require.NoError(t, Fit(t.Context(), first, batches, o))
	o.Data = "shapes, seed 1"
	err := Fit(t.Context(), second, noBatches(t), o)
	require.ErrorIs(t, err, ErrCheckpoint)
	require.ErrorContains(t, err, `data is "shapes, seed 0", want "shapes, seed 1"`)
	o.Data = ""
	require.NoError(t, Fit(t.Context(), second, noBatches(t), o), "nobody asks")
}
