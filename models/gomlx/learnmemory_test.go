package gomlx

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// learned learns maps between two networks in three updates and returns the fused
// parameters.
func learned(t *testing.T, d *Device, net modeltest.Net, config TrainConfig) models.Params {
	anchor, err := net.Model(1)
	require.NoError(t, err)
	other, err := net.Model(2)
	require.NoError(t, err)
	batch := net.Batch(8, 3)
	delete(batch, models.Labels)
	config.Steps = 3
	learner := &Learner{device: d, Config: config, Batches: func(int) (models.Batch, error) { return batch, nil }}
	fused, _, err := fuse.Into(t.Context(), anchor, []*models.Model{other}, fuse.Matching{Learner: learner}, nil)
	require.NoError(t, err)
	return fused.Params
}

// TestLearnedAgain: a graph is compiled once for all runs that have it, for others
// anew, and each run gives what it gives on a device of its own.
func TestLearnedAgain(t *testing.T) {
	compiled := 0
	d := openDevice(t)
	d.observe = func(p models.Progress) {
		if p.Stage == StageCompile && p.Done == 0 {
			compiled++
		}
	}
	net := modeltest.ViT()
	first := learned(t, d, net, TrainConfig{})
	require.Equal(t, 1, compiled)
	require.Equal(t, first, learned(t, d, net, TrainConfig{}))
	require.Equal(t, 1, compiled)
	faster := learned(t, d, net, TrainConfig{LR: 1e-1})
	require.Equal(t, 1, compiled, "learning rates are arguments")
	require.NotEqual(t, first, faster)
	clipped := learned(t, d, net, TrainConfig{Clip: 1e-6})
	require.Equal(t, 2, compiled)
	require.NotEqual(t, first, clipped)
	require.NoError(t, d.FreePrograms())
	require.Equal(t, first, learned(t, d, net, TrainConfig{}))
	require.Equal(t, 3, compiled)
}

// memoryVariable has TestLearnedMemory run, which takes minutes where XLA compiles.
const memoryVariable = "OTFUSE_TEST_MEMORY"

// TestLearnedMemory: 41 learned matchings hold after the last what they held after the
// third, but for a little that the allocator keeps.
func TestLearnedMemory(t *testing.T) {
	if os.Getenv(memoryVariable) == "" {
		t.Skipf("SKIPPED: $%s is not set", memoryVariable)
	}
	if meter.Held() == nil {
		t.Skip("SKIPPED: the system does not tell how much memory a process has")
	}
	d := openDevice(t)
	var held []float64
	for range 41 {
		learned(t, d, modeltest.ViT(), TrainConfig{})
		meter.Settle()
		held = append(held, *meter.Held())
	}
	t.Logf("MiB after each: %.0f", held)
	require.Less(t, held[40]-held[2], 32.0)
}
