package gomlx

import (
	"maps"
	"path/filepath"
	"strings"
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
	_, out["Student"] = d.Student(m, []*models.Model{m}, nil, TrainConfig{Steps: 1, LR: 1})
	_, out["Distiller"] = d.Distiller(func(int) (models.Batch, error) { return batch, nil }).Distil(t.Context(), m,
		[]*models.Model{m}, nil)
	_, out["Calibration"] = d.Calibration(batch, nil).Collect(t.Context(), m, m, align.Request{})
	_, out["Learner"] = d.Learner(func(int) (models.Batch, error) { return batch, nil }).Learn(t.Context(),
		[]*models.Model{m, m}, nil)
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
	require.ErrorIs(t, trainer.Move(m), ErrNotOpen)
	require.ErrorIs(t, trainer.Save(filepath.Join(t.TempDir(), "state")), ErrNotOpen)
	require.ErrorIs(t, trainer.Load(filepath.Join(t.TempDir(), "state")), ErrNotOpen)
	_, err = (&Calibration{Data: batch}).Collect(t.Context(), m, m, align.Request{})
	require.ErrorIs(t, err, ErrNotOpen)
	_, err = (&Learner{}).Learn(t.Context(), []*models.Model{m, m}, nil)
	require.ErrorIs(t, err, ErrNotOpen)
	_, err = (&Distiller{}).Distil(t.Context(), m, []*models.Model{m}, nil)
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
	begin := models.Progress{Stage: StageCompile, Item: "forward pass of " + m.Arch.Class, Total: 1}
	end := begin
	end.Done = 1
	require.Equal(t, []models.Progress{begin, end, begin, end}, told)
	require.NoError(t, d.FreePrograms())
	_, err = d.Logits(t.Context(), m, net.Batch(3, 2))
	require.NoError(t, err)
	require.Len(t, told, 6)
}

// badTokens keeps the groups that it holds, whatever there is.
type badTokens struct{ groups [][]int }

func (b badTokens) Groups(align.Layout, int) [][]int {
	if b.groups == nil {
		panic("no idea")
	}
	return b.groups
}

// oneLineOf requires an error to be one line that has the prefix of the package
// once and contains some texts.
func oneLineOf(t *testing.T, err error, texts ...string) {
	t.Helper()
	require.Error(t, err)
	for _, text := range texts {
		require.ErrorContains(t, err, text)
	}
	require.True(t, strings.HasPrefix(err.Error(), "gomlx: "), err.Error())
	require.Equal(t, 1, strings.Count(err.Error(), "gomlx: "), err.Error())
	require.NotContains(t, err.Error(), "\n")
	require.NotContains(t, err.Error(), "panicked")
}

// TestBadTokens: what a filter of the user returns is checked before GoMLX sees
// it.
func TestBadTokens(t *testing.T) {
	d, net := openDevice(t), shallow(modeltest.ViT())
	m := randomModel(t, net, 1)
	for want, groups := range map[string][][]int{
		"holds token 1000":      {{0}, {1000}},
		"holds token -1":        {{-1}},
		"group 1 of 2 is empty": {{0}, {}},
		"none of":               {},
		"no idea":               nil,
	} {
		_, err := d.Calibration(net.Batch(2, 1), badTokens{groups}).Collect(t.Context(), m, m, wanted(m.Graph))
		oneLineOf(t, err, "calibration of "+m.Arch.Class, "badTokens", want)
	}
}

// TestGraphErrors: what GoMLX finds wrong in a graph is told in one line that
// names the model, the node and its shapes.
func TestGraphErrors(t *testing.T) {
	d, net := openDevice(t), shallow(modeltest.ViT())
	m := randomModel(t, net, 1)
	broken := *m
	broken.Inputs = []models.Input{{Name: "pixel_values", Shape: []int{models.Any, models.Any, models.Any}}}
	batch := models.Batch{"pixel_values": {Shape: []int{2, 3, 16, 4}, Floats: make([]float32, 2*3*16*4)}}
	_, err := d.Logits(t.Context(), &broken, batch)
	oneLineOf(t, err, "forward pass of "+m.Arch.Class, "node ", "of shapes [2")
	empty := models.Batch{"pixel_values": {Shape: []int{0, 3, 6, 6}, Floats: []float32{}}}
	_, err = d.Logits(t.Context(), &broken, empty)
	oneLineOf(t, err, "no samples")
	for _, absent := range []*models.Model{nil, {}} {
		_, err = d.Logits(t.Context(), absent, batch)
		oneLineOf(t, err, "the model is nil")
		_, err = d.Evaluate(t.Context(), net.Batch(2, 1), 2, m, absent)
		oneLineOf(t, err, "model 1", "the model is nil")
		_, err = d.Trainer(absent, TrainConfig{Steps: 1, LR: 1})
		oneLineOf(t, err, "the model is nil")
		_, err = d.Calibration(net.Batch(2, 1), nil).Collect(t.Context(), m, absent, align.Request{})
		oneLineOf(t, err, "calibration", "the model is nil")
	}
	short := m.With(maps.Clone(m.Params))
	bias := short.Params["classifier.bias"]
	bias.Data = bias.Data[:1]
	short.Params["classifier.bias"] = bias
	_, err = d.Logits(t.Context(), short, net.Batch(2, 1))
	oneLineOf(t, err, "classifier.bias")
}

// TestTeachers: who reads other inputs or answers in other classes cannot teach.
func TestTeachers(t *testing.T) {
	d, net := openDevice(t), shallow(modeltest.ViT())
	m := randomModel(t, net, 1)
	text := randomModel(t, shallow(modeltest.Classifier()), 1)
	config := TrainConfig{Steps: 1, LR: 0.1}
	_, err := d.Student(m, []*models.Model{m, text}, nil, config)
	oneLineOf(t, err, "teacher 1", "input_ids", "pixel_values")
	_, err = d.Student(m, []*models.Model{nil}, nil, config)
	oneLineOf(t, err, "teacher 0", "the model is nil")
	_, err = d.Student(m, nil, nil, config)
	oneLineOf(t, err, "without teachers")
	_, err = d.Student(nil, []*models.Model{m}, nil, config)
	oneLineOf(t, err, "the model is nil")
	_, err = d.Student(m, []*models.Model{m}, []float64{0.5, 0.5}, config)
	oneLineOf(t, err, "2 weights of 1 teachers")
}
