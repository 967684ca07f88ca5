package mlx

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/netest"
	"github.com/otfuse/otfuse/models"
)

// TestLearner: what is learned, with labels and without, lowers the loss of the
// model in the middle and leaves the other model as it was.
func TestLearner(t *testing.T) {
	b := openBackend(t)
	runner := NewRunner(b)
	defer runner.Close()
	for labelled, nets := range map[string][]netest.Net{"labels": {netest.ViT(), netest.SimpleViT()}, "no labels": {netest.ViT(), netest.MaskedLM()}} {
		for _, net := range nets {
			t.Run(net.Arch.Class+" "+labelled, func(t *testing.T) {
				anchor, err := net.Model(1)
				require.NoError(t, err)
				other, err := net.Model(2)
				require.NoError(t, err)
				batch := net.Batch(16, 3)
				if labelled == "labels" {
					batch[models.Labels] = answers(t, runner, anchor, batch)
				}
				var losses []float64
				learner := &Learner{Backend: b, Recipe: Recipe{Steps: 40, LR: 2e-2},
					Feed:    func(int) (models.Batch, error) { return batch, nil },
					Observe: func(_ int, loss float64) { losses = append(losses, loss) }}
				p, _, err := fuse.Transport(t.Context(), other, anchor, &fuse.Options{Matching: &fuse.Matching{Learner: learner}})
				require.NoError(t, err)
				require.Len(t, losses, 40)
				require.Less(t, mean(losses[30:]), mean(losses[:5]))
				delete(batch, models.Labels)
				want, got := netest.Logits(other, batch), netest.Logits(anchor.With(p), batch)
				for i := range want {
					require.InDelta(t, want[i], got[i], 5e-5)
				}
			})
		}
	}
}

// answers are the classes that m finds most likely.
func answers(t *testing.T, r *Runner, m *models.Model, batch models.Batch) models.Array {
	logits, err := r.Logits(context.Background(), m, batch)
	require.NoError(t, err)
	classes := logits.Shape[len(logits.Shape)-1]
	out := models.Array{Shape: logits.Shape[:len(logits.Shape)-1]}
	for i := 0; i < len(logits.Floats); i += classes {
		best, at := math.Inf(-1), 0
		for k, v := range logits.Floats[i : i+classes] {
			if float64(v) > best {
				best, at = float64(v), k
			}
		}
		out.Ints = append(out.Ints, int32(at))
	}
	return out
}

func mean(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v / float64(len(x))
	}
	return s
}
