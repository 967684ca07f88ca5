package report

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBarrier: the barrier is measured against what lies straight between the
// ends, at the point where it is highest, each measure at its own.
func TestBarrier(t *testing.T) {
	from, to := Point{Accuracy: 0.8, Loss: 1}, Point{Accuracy: 0.6, Loss: 2}
	b := BarrierOf([]Point{{0, 0.8, 1}, {0.25, 0.25, 2}, {0.5, 0.45, 2.5}, {1, 0.6, 2}}, from, to)
	require.InDelta(t, 0.5, b.Accuracy, 1e-12, "75 % straight between the ends at a quarter, 25 % on the curve")
	require.InDelta(t, 1, b.Loss, 1e-12, "1.5 nats straight between the ends half way, 2.5 on the curve")
	require.Equal(t, Barrier{}, BarrierOf([]Point{{0, 0.8, 1}, {0.5, 0.9, 0.5}, {1, 0.6, 2}}, from, to))
	rising := []Point{{X: 0, Loss: 1}, {X: 0.5, Loss: 1.75}, {X: 1, Loss: 2}}
	require.InDelta(t, 0.25, BarrierOf(rising, Point{Loss: 1}, Point{Loss: 2}).Loss, 1e-12)
	rising[1].Loss = 1.25
	require.Zero(t, BarrierOf(rising, Point{Loss: 1}, Point{Loss: 2}).Loss)
}

// TestAddPoint: points go to the curve of their row and axis.
func TestAddPoint(t *testing.T) {
	var r Report
	a, b := Row{Method: "flow", Label: "a"}, Row{Method: "match", Label: "b"}
	r.AddPoint(a, AlongLine, Point{X: 0})
	r.AddPoint(b, AlongLine, Point{X: 0})
	r.AddPoint(a, AlongUpdates, Point{X: 5})
	r.AddPoint(a, AlongLine, Point{X: 1})
	require.Equal(t, []Curve{
		{Method: "flow", Label: "a", Along: AlongLine, Points: []Point{{X: 0}, {X: 1}}},
		{Method: "match", Label: "b", Along: AlongLine, Points: []Point{{X: 0}}},
		{Method: "flow", Label: "a", Along: AlongUpdates, Points: []Point{{X: 5}}},
	}, r.Curves)
}
