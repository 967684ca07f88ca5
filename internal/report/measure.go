package report

import (
	"fmt"
	"math"
)

// Measure says how good a model is.
type Measure uint8

// The measures.
const (
	Accuracy Measure = iota // of 0 to 1, shown in %
	Loss                    // nats
)

// String is the label of an axis.
func (m Measure) String() string { return [...]string{"accuracy, %", "loss, nats"}[m] }

// title is the heading of a chart.
func (m Measure) title() string { return [...]string{"Accuracy", "Loss"}[m] }

// format writes a value with its unit.
func (m Measure) format(v float64) string {
	if m == Accuracy {
		return fmt.Sprintf("%.2f %%", 100*v)
	}
	return fmt.Sprintf("%.3f", v)
}

// scale is the factor from a value to what is shown of it.
func (m Measure) scale() float64 {
	if m == Accuracy {
		return 100
	}
	return 1
}

// better reports whether a is better than b.
func (m Measure) better(a, b float64) bool {
	if m == Accuracy {
		return a > b
	}
	return a < b
}

// ofRow returns the measure of a row, or nil where it has none.
func (m Measure) ofRow(r Row) *float64 {
	v := r.Loss
	if m == Accuracy {
		v = r.Accuracy
	}
	if v == nil || !isFinite(*v) {
		return nil
	}
	return v
}

// ofPoint returns the measure of a point.
func (m Measure) ofPoint(p Point) float64 {
	if m == Accuracy {
		return p.Accuracy
	}
	return p.Loss
}

// ofBarrier returns the barrier of the measure; 0 where a curve has none.
func (m Measure) ofBarrier(b *Barrier) float64 {
	switch {
	case b == nil:
		return 0
	case m == Accuracy:
		return b.Accuracy
	}
	return b.Loss
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
