package gomlx

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors/dtensor"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/ot"
)

// openSpread opens several devices, or skips where the backend has one: XLA makes four
// of a processor.
func openSpread(t *testing.T, s Spread) *Device {
	d, err := OpenWith(t.Context(), Settings{Spread: s})
	if err != nil && strings.Contains(err.Error(), "Go Backend has 1") {
		t.Skip("the pure Go backend has one device")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// sameWeights compares the parameters of two trainings. Biases of keys have no gradient
// but rounding, which AdamW amplifies.
func sameWeights(t *testing.T, want, got models.Params) {
	for name, w := range want {
		if strings.Contains(name, "key.bias") {
			continue
		}
		for i, v := range w.Data {
			require.InDelta(t, v, got[name].Data[i], 1e-5, "%s at %d", name, i)
		}
	}
}

// updates makes updates by a batch and returns the losses.
func updates(t *testing.T, tr *Trainer, batch models.Batch, n int) (losses []float64) {
	for range n {
		loss, err := tr.Update(t.Context(), batch)
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	return losses
}

// heldBytes is the memory that the state of a training takes on a device.
func heldBytes(o *optimizer) (n int) {
	for _, s := range o.state {
		shape := s.Shape()
		if d, shared := s.placed.(*dtensor.Tensor); shared {
			shape = d.ShardShape()
		}
		n += int(shape.ByteSize())
	}
	return n
}

// sharedBytes is the memory that the state of a training on one device would take on
// each of several that share it.
func sharedBytes(o *optimizer, devices int) (n int) {
	for _, s := range o.state {
		by := 1
		for _, k := range s.Shape().Dimensions {
			if k%devices == 0 {
				by = devices
			}
		}
		n += int(s.Shape().ByteSize()) / by
	}
	return n
}

// TestSpreadTraining: several devices make the updates of one, whether they share the
// state, which then takes less memory on each, or not. A training goes on with another
// number of devices.
func TestSpreadTraining(t *testing.T) {
	net, path := shallow(modeltest.ViT()), filepath.Join(t.TempDir(), "state.safetensors")
	m, batch := randomModel(t, net, 1), net.Batch(8, 2)
	config := TrainConfig{Steps: 5, LR: 1e-3, WeightDecay: 0.01, Clip: 1, Smoothing: 0.1}
	split := trainer(t, openSpread(t, Spread{Devices: 4, State: true}), m, config)
	got := updates(t, split, batch, 2)
	require.NoError(t, split.Save(path))
	got = append(got, updates(t, split, batch, 3)...)
	copies := trainer(t, openSpread(t, Spread{Devices: 2}), m, config)
	one := trainer(t, openDevice(t), m, config)
	want := updates(t, one, batch, 5)
	require.InEpsilonSlice(t, want, got, 1e-6)
	require.InEpsilonSlice(t, want, updates(t, copies, batch, 5), 1e-6)
	for _, tr := range []*Trainer{split, copies} {
		sameWeights(t, trained(t, one), trained(t, tr))
	}
	require.NoError(t, split.Reset(m))
	require.Equal(t, got, updates(t, split, batch, 5), "the same bits on as many devices")
	all := heldBytes(&one.optimizer)
	require.Equal(t, all, heldBytes(&copies.optimizer))
	require.Equal(t, sharedBytes(&one.optimizer, 4), heldBytes(&split.optimizer))
	require.Less(t, heldBytes(&split.optimizer), all*2/5)
	for _, tr := range []*Trainer{copies, one} {
		require.NoError(t, tr.Load(path))
		require.InEpsilonSlice(t, want[2:], updates(t, tr, batch, 3), 1e-6)
	}
	_, err := split.Update(t.Context(), net.Batch(6, 2))
	require.ErrorIs(t, err, ErrFinished)
	require.NoError(t, split.Load(path))
	_, err = split.Update(t.Context(), net.Batch(6, 2))
	require.ErrorIs(t, err, ErrUneven)
	oneLineOf(t, err, "6 samples", "4 devices")
}

// TestSpreadLabels: the loss is the mean over the labels of all devices, of which some
// have none.
func TestSpreadLabels(t *testing.T) {
	net := shallow(modeltest.MaskedLM())
	m, batch := randomModel(t, net, 1), net.Batch(8, 2)
	labels := batch[models.Labels].Ints
	for i := range labels[:len(labels)*2/3] {
		labels[i] = models.Ignore
	}
	config := TrainConfig{Steps: 5, LR: 1e-3}
	one := trainer(t, openDevice(t), m, config)
	four := trainer(t, openSpread(t, Spread{Devices: 4, State: true}), m, config)
	require.InEpsilonSlice(t, updates(t, one, batch, 5), updates(t, four, batch, 5), 1e-6)
	sameWeights(t, trained(t, one), trained(t, four))
}

// TestSpreadStudent: so it is for a student, whose batches are accumulated.
func TestSpreadStudent(t *testing.T) {
	net := shallow(modeltest.ViT())
	m, batch := randomModel(t, net, 1), net.Batch(8, 2)
	teachers := []*models.Model{randomModel(t, net, 2), randomModel(t, net, 3)}
	var want []float64
	var params models.Params
	for _, s := range []Spread{{}, {Devices: 2, State: true}} {
		student, err := openSpread(t, s).Student(m, teachers, nil, TrainConfig{Steps: 5, LR: 1e-3, Accumulate: 2})
		require.NoError(t, err)
		var got []float64
		for range 5 {
			loss, err := student.Update(t.Context(), batch, batch)
			require.NoError(t, err)
			got = append(got, loss)
		}
		held, err := student.Loss(t.Context(), net.Batch(3, 4)) // does not divide
		require.NoError(t, err)
		if got = append(got, held); want == nil {
			want, params = got, trained(t, student)
		}
		require.InEpsilonSlice(t, want, got, 1e-6)
		sameWeights(t, params, trained(t, student))
	}
}

// TestSpreadErrors: more devices than there are are an error that names both numbers.
func TestSpreadErrors(t *testing.T) {
	for _, n := range []int{-1, 1000} {
		_, err := OpenWith(t.Context(), Settings{Spread: Spread{Devices: n}})
		require.ErrorIs(t, err, ErrSpread)
		oneLineOf(t, err, fmt.Sprintf("Devices is %d, and ", n))
	}
}

// TestSpreadScores: scores, logits and moments are those of one device, also of
// samples that do not divide.
func TestSpreadScores(t *testing.T) {
	net := shallow(modeltest.ViT())
	m, other, data := randomModel(t, net, 1), randomModel(t, net, 2), net.Batch(7, 3)
	one := openDevice(t)
	score, err := one.Evaluate(t.Context(), data, 5, m, other)
	require.NoError(t, err)
	logits, err := one.Logits(t.Context(), m, data)
	require.NoError(t, err)
	want := wanted(m.Graph)
	stats, err := one.Calibration(data, align.All{}).Collect(t.Context(), other, m, want)
	require.NoError(t, err)
	d := openSpread(t, Spread{Devices: 4, State: true})
	got, err := d.Evaluate(t.Context(), data, 5, m, other)
	require.NoError(t, err)
	require.Equal(t, score.Count, got.Count)
	require.InEpsilon(t, score.Loss, got.Loss, 1e-6)
	require.InDelta(t, score.Accuracy, got.Accuracy, 0)
	same, err := d.Logits(t.Context(), m, data)
	require.NoError(t, err)
	require.Equal(t, logits.Shape, same.Shape)
	require.LessOrEqual(t, modeltest.Apart(t, logits.Floats, same.Floats), 1e-5)
	moments, err := d.Calibration(data, align.All{}).Collect(t.Context(), other, m, want)
	require.NoError(t, err)
	sameStats(t, stats, moments, 1e-5)
}

// TestSpreadLearner: several devices learn the maps of one. The rate is small: maps have
// directions without a gradient, along which AdamW takes rounding for one.
func TestSpreadLearner(t *testing.T) {
	net := shallow(modeltest.ViT())
	anchor, other, batch := randomModel(t, net, 1), randomModel(t, net, 2), net.Batch(8, 3)
	var want []float64
	var maps models.Params
	for _, s := range []Spread{{}, {Devices: 4, State: true}} {
		var losses []float64
		learner := openSpread(t, s).Learner(func(int) (models.Batch, error) { return batch, nil })
		learner.Config = TrainConfig{Steps: 5, LR: 1e-3}
		learner.Observe = func(p models.Progress) { losses = append(losses, p.Loss) }
		p, err := transported(t, other, anchor, fuse.Matching{Learner: learner}, nil)
		require.NoError(t, err)
		if want == nil {
			want, maps = losses, p
		}
		require.InEpsilonSlice(t, want, losses, 1e-6)
		for name, w := range maps {
			require.LessOrEqual(t, modeltest.Apart(t, w.Data, p[name].Data), 1e-4, name)
		}
	}
}

// TestSpreadSinkhorn: transport problems are solved on one of several devices.
func TestSpreadSinkhorn(t *testing.T) {
	problem := ot.Problem{Cost: distances(t, 5, 7)}
	want, err := ot.Sinkhorn{Reg: 0.1}.Solve(t.Context(), problem)
	require.NoError(t, err)
	got, err := openSpread(t, Spread{Devices: 4}).Sinkhorn(ot.Sinkhorn{Reg: 0.1}).Solve(t.Context(), problem)
	require.NoError(t, err)
	require.LessOrEqual(t, modeltest.Apart(t, flatten(want), flatten(got)), 1e-6)
}
