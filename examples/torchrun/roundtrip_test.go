// Package torchrun_test takes a fused checkpoint to PyTorch and back.
package torchrun_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/testxla"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

func TestMain(m *testing.M) { testxla.MainInGo(m) }

const (
	steps = 5
	rate  = 1e-3
)

// fused saves a network that is fused of two, and labelled samples beside it.
func fused(t *testing.T, dir string) (*models.Model, models.Batch) {
	net := modeltest.ViT()
	a, err := net.Model(1)
	require.NoError(t, err)
	b, err := net.Model(2)
	require.NoError(t, err)
	m, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Matching{}, nil)
	require.NoError(t, err)
	require.NoError(t, m.Save(filepath.Join(dir, "fused")))
	batch := net.Batch(8, 3)
	pixels, labels := batch["pixel_values"], batch[models.Labels]
	x, err := safetensors.FromFloat32(safetensors.F32, pixels.Shape, pixels.Floats)
	require.NoError(t, err)
	y, err := safetensors.FromInt32(labels.Shape, labels.Ints)
	require.NoError(t, err)
	require.NoError(t, safetensors.WriteFile(filepath.Join(dir, "samples.safetensors"),
		map[string]safetensors.Tensor{"pixel_values": x, "labels": y}, nil))
	return m, batch
}

// torchrun finetunes with PyTorch on so many processes and returns what it prints and
// what otfuse opens of it.
func torchrun(t *testing.T, python, dir string, processes int) (string, *models.Model) {
	tuned := filepath.Join(dir, fmt.Sprintf("tuned-%d", processes))
	script, err := filepath.Abs("finetune.py")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
		fmt.Sprint(processes), script, "fused", tuned, "samples.safetensors", "--steps", fmt.Sprint(steps), "--batch", "8",
		"--lr", fmt.Sprint(rate), "--weight-decay", "0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "CUDA_VISIBLE_DEVICES=", "HF_HUB_OFFLINE=1")
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.Output()
	require.NoError(t, err, told.String())
	m, err := models.Open(tuned)
	require.NoError(t, err)
	return string(out), m
}

// TestRoundTrip: a fused checkpoint is finetuned by torchrun on one process and on two,
// and by otfuse, with the same losses, and comes back with the same weights.
func TestRoundTrip(t *testing.T) {
	python := os.Getenv("OTFUSE_PYTHON")
	if python == "" {
		t.Skip("OTFUSE_PYTHON is not set: there is no Python with torch and transformers to take a checkpoint to")
	}
	dir := t.TempDir()
	m, batch := fused(t, dir)
	device, err := gomlx.Open(t.Context(), nil)
	require.NoError(t, err)
	defer device.Close()
	trainer, err := device.Trainer(m, gomlx.TrainConfig{Steps: steps, LR: rate, MinLR: rate})
	require.NoError(t, err)
	var losses []float64
	for range steps {
		loss, err := trainer.Update(t.Context(), batch)
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	own, err := trainer.Model()
	require.NoError(t, err)
	for _, processes := range []int{1, 2} {
		printed, tuned := torchrun(t, python, dir, processes)
		lines := strings.Split(strings.TrimSpace(printed), "\n")
		require.Len(t, lines, steps, printed)
		for i, line := range lines {
			var step int
			var loss float64
			_, err := fmt.Sscanf(line, "step %d loss %f", &step, &loss)
			require.NoError(t, err, line)
			require.InDelta(t, losses[i], loss, 5e-6, "%d processes, step %d", processes, step)
		}
		for name, want := range own.Params {
			if !strings.Contains(name, "key.bias") { // whose gradient is rounding
				require.LessOrEqual(t, modeltest.Apart(t, want.Data, tuned.Params[name].Data), 1e-4, name)
			}
		}
		score, err := device.Evaluate(t.Context(), batch, 8, own)
		require.NoError(t, err)
		again, err := device.Evaluate(t.Context(), batch, 8, tuned)
		require.NoError(t, err)
		require.InDelta(t, score.Loss, again.Loss, 1e-4)
	}
}
