package fuse_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// BenchmarkMatching matches weights of two ViTs of 2 layers, 384 wide, three
// rounds.
func BenchmarkMatching(b *testing.B) {
	net := modeltest.ViT()
	net.Config.Hidden, net.Config.Heads, net.Config.MLP = 384, 12, 1536
	anchor, err := net.Model(1)
	require.NoError(b, err)
	other, err := net.Model(2)
	require.NoError(b, err)
	for b.Loop() {
		_, _, err := fuse.Align(b.Context(), anchor, []*models.Model{other}, fuse.Matching{Rounds: 3}, nil)
		require.NoError(b, err)
	}
}
