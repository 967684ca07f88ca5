package lab

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestShrunk: all but gains is scaled, packed tensors once.
func TestShrunk(t *testing.T) {
	for _, net := range []modeltest.Net{modeltest.ViT(), modeltest.SimpleViT()} { // the latter packs queries, keys, values
		m, err := net.Model(1)
		require.NoError(t, err)
		s, err := Shrunk(m, 0.25)
		require.NoError(t, err)
		for _, p := range m.Graph.Params() {
			share := float32(0.25)
			if p.Role == graph.RoleGain {
				share = 1
			}
			for i, v := range m.Params[p.Name].Data {
				require.InDelta(t, share*v, s.Params[p.Name].Data[i], 1e-6, p.Name)
			}
		}
	}
	_, err := Shrunk(nil, 0.5)
	require.Error(t, err)
}

// TestUniformShare: a point of the line is found again, and none for what is farther
// than the others.
func TestUniformShare(t *testing.T) {
	var ms []*models.Model
	for seed := range uint64(3) {
		m, err := modeltest.ViT().Model(seed)
		require.NoError(t, err)
		ms = append(ms, m)
	}
	a, _, err := fuse.Align(t.Context(), ms[0], ms[1:], fuse.Matching{}, nil)
	require.NoError(t, err)
	a.Circuits = false // so that the line is straight
	want, err := a.Mean([]float64{0.4, 0.3, 0.3})
	require.NoError(t, err)
	got, weights, err := UniformShare(a, want)
	require.NoError(t, err)
	require.InDeltaSlice(t, []float64{0.4, 0.3, 0.3}, weights, 1e-4)
	require.InDelta(t, 0, distance(want, got), 1e-3)
	_, weights, err = UniformShare(a, a.Anchor)
	require.NoError(t, err)
	require.Equal(t, []float64{1, 0, 0}, weights)
	far, err := a.Mean([]float64{-2, 1.5, 1.5})
	require.NoError(t, err)
	none, _, err := UniformShare(a, far)
	require.NoError(t, err)
	require.Nil(t, none, "there is no point of the line so far away")
	none, _, err = UniformShare(&fuse.Aligned{Anchor: ms[0], Others: []models.Params{ms[0].Params}}, ms[0])
	require.NoError(t, err)
	require.Nil(t, none, "there is no line from a model to itself")
}
