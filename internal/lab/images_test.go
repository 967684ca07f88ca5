package lab

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// TestRepresentative: of a set that comes class by class, all classes are seen.
func TestRepresentative(t *testing.T) {
	set := dataset.Shapes(40, 1)
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, representative(set, 10), "in mixed order: the first")
	for i := range set.Labels {
		set.Labels[i] = int32(i / 4)
	}
	require.Equal(t, []int{0, 4, 8, 12, 16, 20, 24, 28, 32, 36}, representative(set, 10))
	require.Len(t, representative(set, 99), 40)
	require.Equal(t, 39, representative(set, 99)[39])
	require.Empty(t, representative(set, 0))
}

// TestScore: portion by portion is the same as all at once.
func TestScore(t *testing.T) {
	device, err := gomlx.Open(t.Context(), func(p models.Progress) { t.Log(p.Item) })
	require.NoError(t, err)
	defer device.Close()
	i := &Images{Train: dataset.Shapes(8, 1), Test: dataset.Shapes(1100, 2)}
	norm, err := i.Train.Norm()
	require.NoError(t, err)
	i.Norm = norm
	a, err := i.Network(Net{Width: 8, Depth: 1, Heads: 2, Patch: 16, Seed: 1})
	require.NoError(t, err)
	b, err := i.Network(Net{Width: 8, Depth: 1, Heads: 2, Patch: 16, Seed: 2})
	require.NoError(t, err)
	all, err := sampler{set: i.Test, norm: i.Norm}.batch(representative(i.Test, 1100), nil)
	require.NoError(t, err)
	want, err := device.Evaluate(t.Context(), all, 1100, a, b)
	require.NoError(t, err)
	got, err := i.Score(t.Context(), device, a, b)
	require.NoError(t, err)
	require.Equal(t, want.Count, got.Count)
	require.InDelta(t, want.Accuracy, got.Accuracy, 1e-12)
	require.InDelta(t, want.Loss, got.Loss, 1e-5)
	got, err = i.scorePortions(t.Context(), device, 300, []*models.Model{a, b})
	require.NoError(t, err)
	require.Equal(t, want.Count, got.Count)
	require.InDelta(t, want.Accuracy, got.Accuracy, 1e-12)
	require.InDelta(t, want.Loss, got.Loss, 1e-5)
}

// TestNetwork: a network is of the class that it says.
func TestNetwork(t *testing.T) {
	i := &Images{Train: dataset.Shapes(8, 1), Test: dataset.Shapes(8, 2)}
	net := Net{Width: 8, Depth: 1, Heads: 2, Patch: 16}
	for class, want := range map[string]string{"": "ViTForImageClassification", "SimpleViT": "SimpleViT"} {
		net.Class = class
		m, err := i.Network(net)
		require.NoError(t, err)
		dir := t.TempDir() + "/m"
		require.NoError(t, m.Save(dir))
		back, err := models.Open(dir)
		require.NoError(t, err)
		require.Equal(t, want, back.Arch.Class)
		require.Len(t, back.Params, len(m.Params))
	}
	net.Class = "nonesuch"
	_, err := i.Network(net)
	require.ErrorContains(t, err, "SimpleViT")
}
