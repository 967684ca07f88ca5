package gomlx

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// A resumable makes parameters by a learner or a distiller. It is of another model where one
// is given.
type resumable func(ctx context.Context, checkpoint, data string, observe func(models.Progress),
	of ...*models.Model) (models.Params, error)

// resumables are a learner and a distiller of one pair, on batches of its own for each step.
func resumables(t *testing.T, d *Device, patience int) map[string]resumable {
	net := modeltest.ViT()
	anchor, other := randomModel(t, net, 1), randomModel(t, net, 2)
	batches := func(step int) (models.Batch, error) {
		batch := net.Batch(8, uint64(step))
		delete(batch, models.Labels)
		return batch, nil
	}
	held := net.Batch(8, 99)
	delete(held, models.Labels)
	config := TrainConfig{Steps: 9, LR: 2e-2}
	return map[string]resumable{
		"learner": func(ctx context.Context, checkpoint, data string, observe func(models.Progress),
			of ...*models.Model) (models.Params, error) {
			l := d.Learner(batches)
			l.Checkpoint, l.Data, l.Observe = checkpoint, data, observe
			l.Config, l.HeldOut, l.Every, l.Patience, l.Seed = config, held, 2, patience, 5
			with := append(of, other)[:1]
			aligned, _, err := fuse.Align(ctx, anchor, with, fuse.Matching{Learner: l}, nil)
			if err != nil {
				return nil, err
			}
			return aligned.Others[0], nil
		},
		"distiller": func(ctx context.Context, checkpoint, data string, observe func(models.Progress),
			of ...*models.Model) (models.Params, error) {
			l := d.Distiller(batches)
			l.Checkpoint, l.Data, l.Observe = checkpoint, data, observe
			l.Config, l.HeldOut, l.Every, l.Patience = config, held, 2, patience
			from := append(of, anchor)[0]
			m, err := l.Distil(ctx, from, []*models.Model{anchor, other}, nil)
			if err != nil {
				return nil, err
			}
			return m.Params, nil
		},
	}
}

// TestResumeChoice: learning and distillation that are interrupted after updates and
// after comparisons, again and again, end with the very bits of what was not interrupted, and
// compare and update as often.
func TestResumeChoice(t *testing.T) {
	d := openDevice(t)
	const step, patience = 4, 2 // a run is interrupted after so many updates and comparisons
	for name, r := range resumables(t, d, patience) {
		var whole []models.Progress
		want, err := r(t.Context(), "", "", func(p models.Progress) { whole = append(whole, p) })
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "state.safetensors")
		var told []models.Progress
		var got models.Params
		runs := 0
		for ; got == nil; runs++ {
			require.Less(t, runs, 2*len(whole), name)
			ctx, cancel := context.WithCancel(t.Context())
			before := len(told)
			got, err = r(ctx, path, "these", func(p models.Progress) {
				if told = append(told, p); len(told) == before+step {
					cancel()
				}
			})
			cancel()
			if err != nil {
				require.ErrorIs(t, err, context.Canceled, name)
			}
		}
		require.Greater(t, runs, 1, name)
		require.Equal(t, want, got, name)
		require.Equal(t, whole, told, name)

		got, err = r(t.Context(), path, "these", func(p models.Progress) { t.Errorf("%s: told of %v", name, p) })
		require.NoError(t, err)
		require.Equal(t, want, got, "a run that is finished")
		_, err = r(t.Context(), path, "others", nil)
		require.ErrorIs(t, err, ErrCheckpoint, name)
		require.ErrorContains(t, err, "data is", name)
		_, err = r(t.Context(), path, "these", nil, randomModel(t, modeltest.ViT(), 3))
		require.ErrorIs(t, err, ErrCheckpoint, "another model")
	}
}

// TestResumeChoiceErrors: what a checkpoint says about the choice of a state is not believed
// where it cannot be.
func TestResumeChoiceErrors(t *testing.T) {
	d := openDevice(t)
	for name, r := range resumables(t, d, 0) {
		path := filepath.Join(t.TempDir(), "state.safetensors")
		_, err := r(t.Context(), path, "these", nil)
		require.NoError(t, err)
		f, err := safetensors.Open(path)
		require.NoError(t, err)
		stored, metadata := map[string]safetensors.Tensor{}, maps.Clone(f.Metadata())
		for _, tensor := range f.Names() {
			stored[tensor], err = f.Tensor(tensor)
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
		best := slices.IndexFunc(f.Names(), func(n string) bool { return len(n) > 5 && n[:5] == bestPrefix })
		require.GreaterOrEqual(t, best, 0)
		for says, change := range map[string][2]string{
			`next_comparison is "-1"`:             {nextKey, "-1"},
			`best_step is "10", want 0 to 9`:      {bestStepKey, "10"},
			`comparisons_without_gain is "many"`:  {missedKey, "many"},
			`lowest_loss is "low", want a number`: {lowestKey, "low"},
			f.Names()[best]:                       {},
		} {
			m, tensors := maps.Clone(metadata), maps.Clone(stored)
			if key := change[0]; key != "" {
				m[key] = change[1]
			} else {
				delete(tensors, says)
			}
			require.NoError(t, safetensors.WriteFile(path, tensors, m))
			_, err := r(t.Context(), path, "these", nil)
			require.ErrorIs(t, err, ErrCheckpoint, name)
			require.ErrorContains(t, err, says, name)
		}
	}
}
