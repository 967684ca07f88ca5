package fuse_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// recording is a Distiller that keeps what it is given and returns the student with
// its biases set to 1.
type recording struct {
	student  *models.Model
	teachers []*models.Model
	weights  []float64
	returns  func(*models.Model) (*models.Model, error) // nil for what is said above
}

func (r *recording) Distil(_ context.Context, student *models.Model, teachers []*models.Model, weights []float64) (
	*models.Model, error) {
	r.student, r.teachers, r.weights = student, teachers, weights
	if r.returns != nil {
		return r.returns(student)
	}
	bias := student.Params["classifier.bias"]
	bias.Data = []float32{1, 1, 1}
	return student.Replace(models.Params{"classifier.bias": bias}), nil
}

// TestDistil: what is trained is the anchor or what another method makes, all models
// are its teachers, and what training returns is the result.
func TestDistil(t *testing.T) {
	net := modeltest.ViT()
	a, b, c := model(t, net, 1), model(t, net, 2), model(t, net, 3)
	refit := &fuse.Refit{Ridge: 0.1}
	calibration := modeltest.Calibration{Data: net.Batch(8, 9)}
	for name, start := range map[string]fuse.Method{"anchor": nil, "mean": fuse.Vanilla{}, "matched": fuse.Matching{}} {
		set := &fuse.Settings{Weights: []float64{0.5, 0.3, 0.2}}
		if start != nil {
			set.Refit, set.Calibration = refit, calibration
		}
		want := a
		if start != nil {
			var err error
			want, _, err = fuse.Into(t.Context(), a, []*models.Model{b, c}, start, set)
			require.NoError(t, err)
		}
		r := &recording{}
		got, report, err := fuse.Into(t.Context(), a, []*models.Model{b, c}, fuse.Distil{Start: start, Distiller: r}, set)
		require.NoError(t, err)
		require.Equal(t, []*models.Model{a, b, c}, r.teachers, name)
		require.Equal(t, set.Weights, r.weights, name)
		require.Equal(t, []float32{1, 1, 1}, got.Params["classifier.bias"].Data, name)
		require.NotNil(t, report)
		for key, p := range want.Params {
			require.LessOrEqual(t, modeltest.Apart(t, p.Data, r.student.Params[key].Data), 1e-6, name, key)
		}
	}
}

// TestDistilTrain: a model from anywhere is trained, in the conventions that it has.
func TestDistilTrain(t *testing.T) {
	a, b := model(t, modeltest.ViT(), 1), model(t, modeltest.ViT(), 2)
	named, err := a.WithClassNames([]string{"x", "y", "z"})
	require.NoError(t, err)
	other, err := b.WithClassNames([]string{"z", "x", "y"})
	require.NoError(t, err)
	r := &recording{}
	_, err = fuse.Distil{Distiller: r}.Train(t.Context(), named, []*models.Model{other}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"x", "y", "z"}, r.teachers[0].ClassNames())
	require.Equal(t, []float64{1}, r.weights)
}

// TestDistilErrors: what cannot be trained is told, and what comes back is checked.
func TestDistilErrors(t *testing.T) {
	a, b := model(t, modeltest.ViT(), 1), model(t, modeltest.ViT(), 2)
	failed := errors.New("failed")
	for want, returns := range map[string]func(*models.Model) (*models.Model, error){
		"fuse: distil: failed": func(*models.Model) (*models.Model, error) { return nil, failed },
		"returned no model":    func(*models.Model) (*models.Model, error) { return nil, nil },
		"number of tensors":    func(m *models.Model) (*models.Model, error) { return m.With(models.Params{}), nil },
	} {
		_, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Distil{Distiller: &recording{returns: returns}}, nil)
		require.ErrorContains(t, err, want)
	}
	_, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Distil{}, nil)
	require.ErrorContains(t, err, "fuse: distil: there is no Distiller")
	_, err = fuse.Distil{}.Train(t.Context(), a, []*models.Model{b}, nil)
	require.ErrorContains(t, err, "there is no Distiller")
	text := model(t, modeltest.Classifier(), 1)
	_, err = fuse.Distil{Distiller: &recording{}}.Train(t.Context(), a, []*models.Model{a, text}, nil)
	require.ErrorContains(t, err, "teacher 1")
}
