package fuse_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/netest"
)

// turned is how far logits may move by weights that were rotated in float32.
const turned = 2e-5

// TestCanonical: the canonical form computes the same.
func TestCanonical(t *testing.T) {
	for _, net := range netest.Nets() {
		m := model(t, net, 1)
		c := fuse.Canonical(m)
		batch := net.Batch(3, 1)
		require.LessOrEqual(t, apart(t, netest.Logits(m, batch), netest.Logits(c, batch)), turned, net.Arch.Class)
	}
}

// TestMatchIsExact: what matching transports computes what it did before.
func TestMatchIsExact(t *testing.T) {
	for _, net := range netest.Nets() {
		for _, mix := range []float64{0, 0.5, 1} {
			t.Run(fmt.Sprint(net.Arch.Class, mix), func(t *testing.T) {
				a, b := model(t, net, 1), model(t, net, 2)
				opt := &fuse.Options{Matching: &fuse.Matching{Mix: mix, Restarts: 1},
					Calibration: netest.Calibration{Data: net.Batch(8, 9), Tokens: align.All{}}}
				p, rep, err := fuse.Transport(t.Context(), b, a, opt)
				require.NoError(t, err)
				batch := net.Batch(3, 4)
				require.LessOrEqual(t, apart(t, netest.Logits(b, batch), netest.Logits(a.With(p), batch)), turned)
				require.Len(t, rep.Nodes, len(a.Graph.Nodes))
			})
		}
	}
}
