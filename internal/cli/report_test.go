package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRise: the barrier is measured against what lies straight between the ends,
// at the point where it is highest, each measure at its own.
func TestRise(t *testing.T) {
	from, to := Point{Accuracy: 0.8, Loss: 1}, Point{Accuracy: 0.6, Loss: 2}
	c := Curve{Points: []Point{{0, 0.8, 1}, {0.25, 0.25, 2}, {0.5, 0.45, 2.5}, {1, 0.6, 2}}}
	b := c.Rise(from, to)
	require.InDelta(t, 0.5, b.Accuracy, 1e-12, "75 % straight between the ends at a quarter, 25 % on the curve")
	require.InDelta(t, 1, b.Loss, 1e-12, "1.5 nats straight between the ends half way, 2.5 on the curve")
	better := Curve{Points: []Point{{0, 0.8, 1}, {0.5, 0.9, 0.5}, {1, 0.6, 2}}}
	require.Equal(t, &Barrier{}, better.Rise(from, to))
}
