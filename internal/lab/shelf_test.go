package lab

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/safetensors"
)

// A patient task calls a function whenever a batch of it is asked for.
type patient struct {
	*Images
	asked func()
}

func (p patient) Batches(seen []int, size int, seed uint64) Batches {
	b := p.Images.Batches(seen, size, seed)
	at := b.At
	b.At = func(step int) (models.Batch, error) {
		p.asked()
		return at(step)
	}
	return b
}

// TestUnfinished: an experiment that is interrupted long before any of its trainings could
// end comes to its end all the same, with the numbers of one in one go, and leaves nothing.
func TestUnfinished(t *testing.T) {
	d := openDevice(t)
	const updates, patience = 60, 40
	task := patient{fewImages(t), func() {}}
	c := comparison(t, task.Images, tinyImageNet)
	for k, m := range c.Parents { // as those that are shipped
		c.Parents[k] = retyped(m, func(string) safetensors.DType { return safetensors.F16 })
	}
	experiment := func(asked func()) Experiment {
		task.asked = asked
		e := Experiment{Task: task, Groups: [][]*models.Model{c.Parents}, Names: Names{Parents: []string{"a", "b"},
			Ensemble: "both"}, Seed: 3, Unfinished: filepath.Join(c.Out, "kept")}
		held := 0.25
		learned := recipe.Recipe{Method: recipe.Learned, Steps: updates, Batch: 4, HeldOut: &held}
		distilled := recipe.Recipe{Method: recipe.Distil, Steps: updates, Batch: 4, HeldOut: &held, Start: &learned}
		e.Trials = []Trial{{Label: "learned", Recipe: learned}, {Label: "distilled", Recipe: distilled, Mixed: true}}
		tune := Tuning{Of: []string{"a", "learned"}, Suffix: ", finetuned", Batches: task.Batches(nil, 4, 3).At, Size: 4,
			Config: gomlx.TrainConfig{Steps: updates, LR: 1e-3}}
		distil := tune
		distil.Of, distil.Suffix, distil.Teachers = tune.Of[:1], ", distilled", c.Parents
		e.Tune = []Tuning{tune, distil}
		return e
	}
	watch := func(*Outcome) error { return nil }
	e := experiment(func() {})
	e.Unfinished = ""
	want, err := Run(t.Context(), d, e, watch)
	require.NoError(t, err)

	runs := 1
	for ; ; runs++ {
		require.Less(t, runs, 40)
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		e := experiment(func() {
			if asked++; asked == patience {
				cancel()
			}
		})
		got, err := Run(ctx, d, e, watch)
		cancel()
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			require.DirExists(t, e.Unfinished)
			continue
		}
		require.Len(t, got.Rows, len(want.Rows))
		for k, row := range got.Rows {
			require.Equal(t, want.Rows[k].Label, row.Label)
			require.Equal(t, want.Rows[k].Loss, row.Loss, row.Label)
		}
		require.NoDirExists(t, e.Unfinished)
		break
	}
	require.Greater(t, runs, 5)
}

// TestShelf: what depends on other things lies elsewhere, and only what was put there is
// removed.
func TestShelf(t *testing.T) {
	s := shelf{dir: filepath.Join(t.TempDir(), "kept")}
	place := func(s *shelf, of ...any) string {
		path, err := s.place(of...)
		require.NoError(t, err)
		return path
	}
	path := place(&s, "data", 1)
	require.NotEqual(t, path, place(&s, "data", 2))
	require.Equal(t, path, place(&s, "data", 1))
	foreign := filepath.Join(s.dir, "letter.txt")
	require.NoError(t, os.MkdirAll(path, 0o755))
	for _, name := range []string{foreign, path + LearningSuffix, filepath.Join(path, "config.json")} {
		require.NoError(t, os.WriteFile(name, nil, 0o644))
	}
	require.True(t, s.holdsAny())
	require.NoError(t, s.clear())
	require.False(t, s.holdsAny())
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.FileExists(t, foreign)
	require.NoError(t, os.Remove(foreign))
	require.NoError(t, s.clear())
	require.NoDirExists(t, s.dir)
	nowhere := shelf{}
	require.Empty(t, place(&nowhere, "data"))
	require.NoError(t, nowhere.clear())
}
