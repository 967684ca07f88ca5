package lab

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models/gomlx"
)

// TestAnotherTraining: a training that was interrupted is not resumed as one of
// another seed, data set, recipe or network; the error names both.
func TestAnotherTraining(t *testing.T) {
	d := openDevice(t)
	out := filepath.Join(t.TempDir(), "out")
	train := func(ctx context.Context, i *Images, n Net, lr float64) error {
		s, err := NewScratch(i, n, Schedule{Epochs: 1, Batch: 16, LR: lr})
		require.NoError(t, err)
		s.Out = out
		return s.Train(ctx, d)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, train(stopped, fewImages(t), tinyImageNet(0), 0.01), context.Canceled)
	require.FileExists(t, out+checkpointSuffix)

	other := fewImages(t)
	other.Train = dataset.Shapes(48, 7) // as many images, under the same label
	wider := tinyImageNet(0)
	wider.Heads = 4
	for name, c := range map[string]struct {
		images *Images
		net    Net
		lr     float64
		want   []string
	}{
		"seed": {fewImages(t), tinyImageNet(1), 0.01, []string{"48 images, seed 0", "48 images, seed 1"}},
		"data": {other, tinyImageNet(0), 0.01, []string{"data is", "digest"}},
		"network": {fewImages(t), wider, 0.01, []string{"network is",
			`\"num_attention_heads\":2`, `\"num_attention_heads\":4`}},
		"recipe": {fewImages(t), tinyImageNet(0), 0.02, []string{"training is", "0.01", "0.02"}},
	} {
		err := train(t.Context(), c.images, c.net, c.lr)
		require.ErrorIs(t, err, gomlx.ErrCheckpoint, name)
		for _, want := range c.want {
			require.ErrorContains(t, err, want, name)
		}
	}
	require.NoError(t, train(t.Context(), fewImages(t), tinyImageNet(0), 0.01))
	require.NoFileExists(t, out+checkpointSuffix)
}
