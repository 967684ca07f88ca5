package gomlx

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/ot"
)

// refusing lists what every kind of use of a device without a backend returns.
func refusing(t *testing.T, d *Device, m *models.Model, batch models.Batch) map[string]error {
	out := map[string]error{}
	_, out["Logits"] = d.Logits(t.Context(), m, batch)
	_, out["Evaluate"] = d.Evaluate(t.Context(), batch, 2, m)
	_, out["FilterByLoss"] = d.FilterByLoss(t.Context(), batch, 1, m)
	_, out["Trainer"] = d.Trainer(m, TrainConfig{Steps: 1, LR: 1})
	_, out["Distiller"] = d.Distiller(m, []*models.Model{m}, TrainConfig{Steps: 1, LR: 1})
	_, out["Calibration"] = d.Calibration(batch, nil).Collect(t.Context(), m, m, align.Request{})
	_, out["Learner"] = d.Learner(func(int) (models.Batch, error) { return batch, nil }).Learn(t.Context(), []*models.Model{m, m}, nil)
	_, out["Sinkhorn"] = d.Sinkhorn(ot.Sinkhorn{}).Solve(t.Context(), ot.Problem{Cost: distances(t, 2, 3)})
	out["FreePrograms"] = d.FreePrograms()
	return out
}

// TestNotOpen: a device that is closed, or that Open did not make, is an error
// in every use.
func TestNotOpen(t *testing.T) {
	net := shallow(modeltest.ViT())
	m, batch := randomModel(t, net, 1), net.Batch(2, 2)
	closed := openDevice(t)
	require.NotEmpty(t, closed.Name())
	trainer := trainer(t, closed, m, TrainConfig{Steps: 1, LR: 0.1})
	require.NoError(t, closed.Close())
	require.NoError(t, closed.Close(), "a second time")
	for name, d := range map[string]*Device{"nil": nil, "zero": {}, "closed": closed} {
		for what, err := range refusing(t, d, m, batch) {
			require.ErrorIs(t, err, ErrNotOpen, "%s of a %s device", what, name)
			require.NotContains(t, err.Error(), "\n")
		}
	}
	_, err := trainer.Update(t.Context(), batch)
	require.ErrorIs(t, err, ErrNotOpen)
	_, err = trainer.Model()
	require.ErrorIs(t, err, ErrNotOpen)
	require.ErrorIs(t, trainer.Reset(m), ErrNotOpen)
	require.ErrorIs(t, trainer.Save(filepath.Join(t.TempDir(), "state")), ErrNotOpen)
	require.ErrorIs(t, trainer.Load(filepath.Join(t.TempDir(), "state")), ErrNotOpen)
	_, err = (&Calibration{Data: batch}).Collect(t.Context(), m, m, align.Request{})
	require.ErrorIs(t, err, ErrNotOpen)
	_, err = (&Learner{}).Learn(t.Context(), []*models.Model{m, m}, nil)
	require.ErrorIs(t, err, ErrNotOpen)
}

// TestTrainerClosed: a trainer that is closed leaves the device open.
func TestTrainerClosed(t *testing.T) {
	d, net := openDevice(t), tiny()[0]
	m, batch := randomModel(t, net, 1), net.Batch(2, 2)
	trainer := trainer(t, d, m, TrainConfig{Steps: 1, LR: 0.1})
	require.NoError(t, trainer.Close())
	_, err := trainer.Update(t.Context(), batch)
	require.ErrorIs(t, err, ErrNotOpen)
	require.NoError(t, trainer.Close())
	_, err = d.Logits(t.Context(), m, batch)
	require.NoError(t, err)
}

// TestCloseWaits: what computes when the device is closed ends as if it were not.
func TestCloseWaits(t *testing.T) {
	d, net := openDevice(t), tiny()[0]
	m, batch := randomModel(t, net, 1), net.Batch(2, 2)
	want, err := d.Logits(t.Context(), m, batch)
	require.NoError(t, err)
	var computing sync.WaitGroup
	for range 4 {
		computing.Go(func() {
			for {
				got, err := d.Logits(t.Context(), m, batch)
				if err != nil {
					require.ErrorIs(t, err, ErrNotOpen)
					return
				}
				require.Equal(t, want, got)
			}
		})
	}
	require.NoError(t, d.Close())
	computing.Wait()
}

// TestCompilationIsReported: once for every shape, when it begins and when it is
// done, and again once programs were freed.
func TestCompilationIsReported(t *testing.T) {
	var told []models.Progress
	d, err := Open(t.Context(), func(p models.Progress) {
		if p.Stage == StageCompile {
			told = append(told, p)
		}
	})
	require.NoError(t, err)
	defer d.Close()
	net := tiny()[0]
	m := randomModel(t, net, 1)
	for _, n := range []int{2, 2, 3} {
		_, err := d.Logits(t.Context(), m, net.Batch(n, 2))
		require.NoError(t, err)
	}
	begin := models.Progress{Stage: StageCompile, Item: "forward pass", Total: 1}
	end := begin
	end.Done = 1
	require.Equal(t, []models.Progress{begin, end, begin, end}, told)
	require.NoError(t, d.FreePrograms())
	_, err = d.Logits(t.Context(), m, net.Batch(3, 2))
	require.NoError(t, err)
	require.Len(t, told, 6)
}
