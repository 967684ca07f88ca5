package vision

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/internal/dataset"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// TestSome: of a set that comes class by class, all classes are seen.
func TestSome(t *testing.T) {
	set := dataset.Shapes(40, 1)
	require.Equal(t, set.Labels[:10], Some(set, 10).Labels, "in mixed order: the first")
	for i := range set.Labels {
		set.Labels[i] = int32(i / 4)
	}
	require.Equal(t, []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, Some(set, 10).Labels)
	require.Equal(t, set.Labels, Some(set, 99).Labels)
	require.Equal(t, set.Labels[:0], Some(set, 0).Labels)
}

// TestScore: portion by portion is the same as all at once.
func TestScore(t *testing.T) {
	device, err := gomlx.Open(t.Context(), func(p models.Progress) { t.Log(p.Item) })
	require.NoError(t, err)
	defer device.Close()
	i := Images{Train: dataset.Shapes(8, 1), Test: dataset.Shapes(1100, 2)}
	norm, err := i.Train.Norm()
	require.NoError(t, err)
	i.Norm = norm
	a, err := i.Fresh(Net{Width: 8, Depth: 1, Heads: 2, Patch: 16, Seed: 1})
	require.NoError(t, err)
	b, err := i.Fresh(Net{Width: 8, Depth: 1, Heads: 2, Patch: 16, Seed: 2})
	require.NoError(t, err)
	all, err := i.First(i.Test, 1100)
	require.NoError(t, err)
	want, err := device.Evaluate(t.Context(), all, 1100, a, b)
	require.NoError(t, err)
	got, err := i.Score(t.Context(), device, a, b)
	require.NoError(t, err)
	require.Equal(t, want.Count, got.Count)
	require.InDelta(t, want.Accuracy, got.Accuracy, 1e-12)
	require.InDelta(t, want.Loss, got.Loss, 1e-5)
	got, err = i.scoreBy(t.Context(), device, 300, a, b)
	require.NoError(t, err)
	require.Equal(t, want.Count, got.Count)
	require.InDelta(t, want.Accuracy, got.Accuracy, 1e-12)
	require.InDelta(t, want.Loss, got.Loss, 1e-5)
}

// TestFresh: a network is of the class that it says.
func TestFresh(t *testing.T) {
	i := Images{Train: dataset.Shapes(8, 1), Test: dataset.Shapes(8, 2)}
	net := Net{Width: 8, Depth: 1, Heads: 2, Patch: 16}
	for class, want := range map[string]string{"": "ViTForImageClassification", "SimpleViT": "SimpleViT"} {
		net.Class = class
		m, err := i.Fresh(net)
		require.NoError(t, err)
		dir := t.TempDir() + "/m"
		require.NoError(t, m.Save(dir))
		back, err := models.Open(dir)
		require.NoError(t, err)
		require.Equal(t, want, back.Arch.Class)
		require.Len(t, back.Params, len(m.Params))
	}
	net.Class = "nonesuch"
	_, err := i.Fresh(net)
	require.ErrorContains(t, err, "SimpleViT")
}
