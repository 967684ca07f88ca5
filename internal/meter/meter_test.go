package meter

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/ot"
)

// TestMeter: what is held counts, and processor time goes by.
func TestMeter(t *testing.T) {
	Settle()
	m := Start()
	held := make([]byte, 64<<20)
	sum := 0
	for round := range 20 {
		for i := range held {
			held[i] += byte(round)
			sum += int(held[i])
		}
	}
	u := m.Read()
	runtime.KeepAlive(held)
	require.Positive(t, sum)
	require.Positive(t, u.Seconds)
	if runtime.GOOS != "linux" {
		t.Skip("memory and processor time are those of proc(5)")
	}
	require.Positive(t, *u.CPU)
	require.Greater(t, *u.PeakMiB, *u.HeldMiB+60)
	require.Nil(t, Peak("no process"))
}

// countingCalibration counts its calls.
type countingCalibration struct{ calls *int }

var errCollected = errors.New("collected")

func (c countingCalibration) Collect(context.Context, *models.Model, *models.Model,
	align.Request) (*align.Statistics, error) {
	*c.calls++
	return nil, errCollected
}

// TestWatch: a watched fusion is the same, and its parts are timed.
func TestWatch(t *testing.T) {
	net := modeltest.ViT()
	anchor, err := net.Model(1)
	require.NoError(t, err)
	other, err := net.Model(2)
	require.NoError(t, err)
	want, _, err := fuse.Into(t.Context(), anchor, []*models.Model{other}, fuse.Transport{}, nil)
	require.NoError(t, err)
	var spent Stages
	units := align.Units{Features: align.Weights{Prep: []align.Prep{align.UnitNorm{}}},
		Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}}, Solver: ot.Sinkhorn{Reg: 0.06}}
	method, settings := spent.Watch(fuse.Transport{Aligner: units}, fuse.Settings{})
	got, _, err := fuse.Into(t.Context(), anchor, []*models.Model{other}, method, settings)
	require.NoError(t, err)
	require.Equal(t, want.Params, got.Params)
	require.Positive(t, spent.Solve)
	require.GreaterOrEqual(t, spent.Align, spent.Solve, "one is part of the other")
	require.Zero(t, spent.Collect)

	calls := 0
	method, settings = spent.Watch(fuse.Matching{Mix: 1}, fuse.Settings{Calibration: countingCalibration{&calls}})
	_, _, err = fuse.Into(t.Context(), anchor, []*models.Model{other}, method, settings)
	require.ErrorIs(t, err, errCollected)
	require.Positive(t, calls)
	require.Positive(t, spent.Collect)
}
