package gomlx

import (
	"encoding/binary"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// TestResume: a training that is saved, loaded elsewhere and continued ends
// with the very bits of one that was not interrupted.
func TestResume(t *testing.T) {
	d := openDevice(t)
	net := tiny()[0]
	m := randomModel(t, net, 1)
	r := TrainConfig{Steps: 6, LR: 0.02, Warmup: 2, WeightDecay: 0.1, Clip: 1, Smoothing: 0.1}
	path := filepath.Join(t.TempDir(), "state.safetensors")
	whole := trainer(t, d, m, r)
	for i := range uint64(6) {
		_, err := whole.Update(t.Context(), net.Batch(4, i))
		require.NoError(t, err)
		if i == 2 {
			require.NoError(t, whole.Save(path))
		}
	}
	resumed := trainer(t, d, randomModel(t, net, 9), r)
	_, err := resumed.Update(t.Context(), net.Batch(4, 7))
	require.NoError(t, err)
	require.NoError(t, resumed.Load(path))
	require.Equal(t, 3, resumed.Step())
	for i := resumed.Step(); i < 6; i++ {
		_, err := resumed.Update(t.Context(), net.Batch(4, uint64(i)))
		require.NoError(t, err)
	}
	require.Equal(t, trained(t, whole), trained(t, resumed))
}

// TestReset: a trainer that starts anew has forgotten everything.
func TestReset(t *testing.T) {
	d := openDevice(t)
	net := tiny()[0]
	m, other := randomModel(t, net, 1), randomModel(t, net, 2)
	r := TrainConfig{Steps: 3, LR: 0.02, Warmup: 1}
	train := func(tr *Trainer) models.Params {
		for i := range uint64(3) {
			_, err := tr.Update(t.Context(), net.Batch(4, i))
			require.NoError(t, err)
		}
		return trained(t, tr)
	}
	used := trainer(t, d, m, r)
	want := train(used)
	require.NoError(t, used.Reset(other))
	require.Equal(t, other.Params, trained(t, used))
	require.NotEqual(t, want, train(used))
	require.NoError(t, used.Reset(m))
	require.Zero(t, used.Step())
	require.Equal(t, want, train(used))
	net.Config.MLP++
	require.Error(t, used.Reset(randomModel(t, net, 1)))
}

// TestMove: a training that is moved to where it is goes on as if nothing had been; one
// that is moved elsewhere keeps its moments and its number of updates.
func TestMove(t *testing.T) {
	d := openDevice(t)
	net := tiny()[0]
	m, other := randomModel(t, net, 1), randomModel(t, net, 2)
	train := func(to func(*Trainer) *models.Model) models.Params {
		tr := trainer(t, d, m, TrainConfig{Steps: 4, LR: 0.02, Warmup: 1})
		for i := range uint64(4) {
			if i == 2 && to != nil {
				require.NoError(t, tr.Move(to(tr)))
				require.Equal(t, 2, tr.Step())
			}
			_, err := tr.Update(t.Context(), net.Batch(4, i))
			require.NoError(t, err)
		}
		return trained(t, tr)
	}
	whole := train(nil)
	require.Equal(t, whole, train(func(tr *Trainer) *models.Model {
		here, err := tr.Model()
		require.NoError(t, err)
		return here
	}))
	require.NotEqual(t, whole, train(func(*Trainer) *models.Model { return other }))
	tr := trainer(t, d, m, TrainConfig{Steps: 1, LR: 0.02})
	require.NoError(t, tr.Move(other))
	require.Equal(t, other.Params, trained(t, tr))
	net.Config.MLP++
	require.ErrorContains(t, tr.Move(randomModel(t, net, 1)), "gomlx: Move: the model is of another size")
	require.Error(t, tr.Move(nil))
}

// disguise makes a checkpoint say that it is of a training that it is not of.
func disguise(t *testing.T, path string, of *Trainer) {
	f, err := safetensors.Open(path)
	require.NoError(t, err)
	defer f.Close()
	stored := map[string]safetensors.Tensor{}
	for _, name := range f.Names() {
		stored[name], err = f.Tensor(name)
		require.NoError(t, err)
	}
	is, err := of.checkpoint()
	require.NoError(t, err)
	is.identity["step"] = "0"
	require.NoError(t, safetensors.WriteFile(path, stored, is.identity))
}

// TestNearDifference: of long texts that differ, what they differ in is shown.
func TestNearDifference(t *testing.T) {
	common, rest := strings.Repeat("é", 100), strings.Repeat("z", 100)
	for _, c := range [][4]string{
		{"seed 3", "seed 4", "seed 3", "seed 4"},
		{"", "seed 4", "", "seed 4"},
		{common + "3" + rest, common + "4", "…" + common[:60] + "3" + rest[:59] + "…", "…" + common[:60] + "4"},
	} {
		a, b := nearDifference(c[0], c[1])
		require.Equal(t, c[2], a)
		require.Equal(t, c[3], b)
	}
}

// TestLoadErrors: what does not fit leaves the trainer as it was.
func TestLoadErrors(t *testing.T) {
	d := openDevice(t)
	net := tiny()[0]
	net.Config.Layers = 2
	m := randomModel(t, net, 1)
	r := TrainConfig{Steps: 6, LR: 0.02}
	tr := trainer(t, d, m, r)
	_, err := tr.Update(t.Context(), net.Batch(2, 1))
	require.NoError(t, err)
	before := trained(t, tr)
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	require.ErrorIs(t, tr.Load(path), fs.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("no tensors at all"), 0o644))
	require.Error(t, tr.Load(path))

	r.LR = 0.03
	require.NoError(t, trainer(t, d, m, r).Save(path))
	require.ErrorIs(t, tr.Load(path), ErrCheckpoint)
	require.ErrorContains(t, tr.Load(path), "0.03")

	r.LR = 0.02
	wide := net
	wide.Config.Hidden = 12
	shallow, deep := net, net
	shallow.Config.Layers, deep.Config.Layers = 1, 3
	for want, other := range map[string]modeltest.Net{"12": wide, "layer.1.": shallow, "tensors, want": deep} {
		require.NoError(t, trainer(t, d, randomModel(t, other, 1), r).Save(path))
		require.ErrorIs(t, tr.Load(path), ErrCheckpoint)
		require.ErrorContains(t, tr.Load(path), "network is")
		disguise(t, path, tr) // even if it claims to be of this network
		require.ErrorIs(t, tr.Load(path), ErrCheckpoint)
		require.ErrorContains(t, tr.Load(path), want)
	}
	require.Error(t, tr.Save(filepath.Join(path, "below")))

	require.Equal(t, 1, tr.Step())
	require.Equal(t, before, trained(t, tr))
	_, err = tr.Update(t.Context(), net.Batch(2, 2))
	require.NoError(t, err)
	require.Equal(t, 2, tr.Step())
}

// TestImpossibleStates: values and steps that no training has are refused.
func TestImpossibleStates(t *testing.T) {
	d, net := openDevice(t), tiny()[0]
	tr := trainer(t, d, randomModel(t, net, 1), TrainConfig{Steps: 6, LR: 0.02})
	_, err := tr.Update(t.Context(), net.Batch(2, 1))
	require.NoError(t, err)
	before := trained(t, tr)
	path := filepath.Join(t.TempDir(), "state")
	for _, c := range []struct {
		prefix string // of the tensors that get a value
		value  float32
		step   string
		want   string
	}{
		{"param/", float32(math.NaN()), "1", "is NaN at position 0"},
		{"first/", float32(math.Inf(1)), "1", "is +Inf at position 0"},
		{"second/", -1, "1", "is -1 at position 0"},
		{"", 0, "999999999999999999", "step is \"999999999999999999\", want 0 to 6"},
		{"", 0, "-1", "step is"},
		{"", 0, "many", "step is"},
	} {
		require.NoError(t, tr.Save(path))
		f, err := safetensors.Open(path)
		require.NoError(t, err)
		stored, said := map[string]safetensors.Tensor{}, f.Metadata()
		for _, name := range f.Names() {
			stored[name], err = f.Tensor(name)
			require.NoError(t, err)
			if c.prefix != "" && strings.HasPrefix(name, c.prefix) {
				binary.LittleEndian.PutUint32(stored[name].Data, math.Float32bits(c.value))
			}
		}
		require.NoError(t, f.Close())
		said["step"] = c.step
		require.NoError(t, safetensors.WriteFile(path, stored, said))
		err = tr.Load(path)
		require.ErrorIs(t, err, ErrCheckpoint)
		require.ErrorContains(t, err, c.want)
	}
	require.Equal(t, 1, tr.Step())
	require.Equal(t, before, trained(t, tr))
}
