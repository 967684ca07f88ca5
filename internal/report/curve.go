package report

import "slices"

// Curve says how good models are along the line between two, or along a
// training.
type Curve struct {
	Method string  `json:"method"`
	Label  string  `json:"label"`
	Along  string  `json:"along"` // what x is: AlongLine or AlongUpdates
	Points []Point `json:"points"`

	Barrier *Barrier `json:"barrier,omitempty"` // of a line between models
}

// What curves run along.
const (
	AlongLine    = "share of the other model"
	AlongUpdates = "updates"
)

// Point is one model of a curve.
type Point struct {
	X        float64 `json:"x"`
	Accuracy float64 `json:"accuracy"` // 0 to 1
	Loss     float64 `json:"loss"`     // nats
}

// Barrier says how much worse the models of a line are, at the worst of its
// points, than straight interpolation between its ends. It is 0 where no point
// is worse. Accuracy and loss have their worst points independently.
type Barrier struct {
	Accuracy float64 `json:"accuracy"` // 0 to 1
	Loss     float64 `json:"loss"`     // nats
}

// BarrierOf returns the barrier of points whose x goes from 0 to 1 between
// models that score as the given ends:
//
//	max_x  loss(x) − (1−x)·loss(from) − x·loss(to)
//
// and the same for the accuracy, with its sign reversed.
func BarrierOf(points []Point, from, to Point) Barrier {
	var b Barrier
	for _, p := range points {
		b.Accuracy = max(b.Accuracy, (1-p.X)*from.Accuracy+p.X*to.Accuracy-p.Accuracy)
		b.Loss = max(b.Loss, p.Loss-(1-p.X)*from.Loss-p.X*to.Loss)
	}
	return b
}

// AddPoint appends a point to the curve of a row along an axis; the curve is
// made where there is none yet.
func (r *Report) AddPoint(row Row, along string, p Point) {
	k := slices.IndexFunc(r.Curves, func(c Curve) bool { return c.Along == along && c.Label == row.Label })
	if k < 0 {
		k = len(r.Curves)
		r.Curves = append(r.Curves, Curve{Method: row.Method, Label: row.Label, Along: along})
	}
	r.Curves[k].Points = append(r.Curves[k].Points, p)
}
