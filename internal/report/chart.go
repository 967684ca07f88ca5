package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
)

// The frame of a chart, in units of its view box.
const (
	chartWidth, chartHeight = 420, 270
	chartLeft, chartRight   = 44, 12
	chartTop, chartBottom   = 12, 42
	legendHeight            = 17 // of a line of the legend of a picture
)

// chart is the curves along one axis by one measure, laid out for the template.
type chart struct {
	Title, X, Y  string
	XTicks       []tick
	YTicks       []tick
	Curves       []chartCurve
	Width        int
	Height       int
	Full         int // height with the legend below
	Left, Right  int
	Top, Bottom  int
	MidX, MidY   int
	AxisX, AxisY int
}

type tick struct{ At, Label string }

// chartCurve is a curve laid out; Dash tells curves of one method apart.
type chartCurve struct {
	Label, Class, Dash, Path, Last string
	LegendY                        int
	Dots                           []dot
}

type dot struct{ X, Y, Text string }

// series is a curve by one measure, in the unit that is shown.
type series struct {
	method, label string
	x, y          []float64
}

// newChart lays out the curves along an axis, or reports that there is nothing
// to draw.
func newChart(curves []Curve, along string, m Measure) (chart, bool) {
	all := measured(curves, along, m)
	if len(all) == 0 {
		return chart{}, false
	}
	left, right, low, high := extent(all)
	pixelX := func(x float64) float64 {
		return chartLeft + (x-left)/(right-left)*(chartWidth-chartLeft-chartRight)
	}
	pixelY := func(y float64) float64 {
		return chartHeight - chartBottom - (y-low)/(high-low)*(chartHeight-chartTop-chartBottom)
	}
	c := chart{Title: m.title(), X: along, Y: m.String(), Width: chartWidth, Height: chartHeight,
		Full: chartHeight + legendHeight*len(all) + 4,
		Left: chartLeft, Right: chartWidth - chartRight, Top: chartTop, Bottom: chartHeight - chartBottom,
		MidX: (chartWidth + chartLeft) / 2, MidY: (chartHeight - chartBottom) / 2, AxisX: chartHeight - 6, AxisY: 11}
	for _, t := range ticks(left, right) {
		if !t.IsMinor() {
			c.XTicks = append(c.XTicks, tick{coordinate(pixelX(t.Value)), t.Label})
		}
	}
	for _, t := range ticks(low, high) {
		c.YTicks = append(c.YTicks, tick{coordinate(pixelY(t.Value)), t.Label})
	}
	seen := map[string]int{} // curves of a class so far
	for i, s := range all {
		line := chartCurve{Label: s.label, Class: class(s.method), LegendY: chartHeight + legendHeight*i + 8}
		line.Dash = fmt.Sprintf("dash%d", seen[line.Class]%3)
		seen[line.Class]++
		var path strings.Builder
		for k := range s.x {
			x, y := coordinate(pixelX(s.x[k])), coordinate(pixelY(s.y[k]))
			path.WriteString([]string{"M", "L"}[min(k, 1)] + x + " " + y)
			line.Dots = append(line.Dots, dot{x, y, fmt.Sprintf("%s: %s at %.4g", s.label, m.format(s.y[k]/m.scale()), s.x[k])})
		}
		line.Path, line.Last = path.String(), m.format(s.y[len(s.y)-1]/m.scale())
		c.Curves = append(c.Curves, line)
	}
	return c, true
}

// measured returns the curves along an axis by one measure, without points that
// are not finite.
func measured(curves []Curve, along string, m Measure) []series {
	var out []series
	for _, c := range curves {
		if c.Along != along {
			continue
		}
		s := series{method: c.Method, label: c.Label}
		for _, p := range c.Points {
			if y := m.ofPoint(p) * m.scale(); isFinite(p.X) && isFinite(y) {
				s.x, s.y = append(s.x, p.X), append(s.y, y)
			}
		}
		if len(s.x) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// extent is the box around all curves, never flat.
func extent(all []series) (left, right, low, high float64) {
	left, low = math.Inf(1), math.Inf(1)
	right, high = math.Inf(-1), math.Inf(-1)
	for _, s := range all {
		left, right = min(left, slices.Min(s.x)), max(right, slices.Max(s.x))
		low, high = min(low, slices.Min(s.y)), max(high, slices.Max(s.y))
	}
	if left == right {
		right = left + 1
	}
	if low == high {
		low, high = low-0.5, low+0.5
	}
	margin := (high - low) / 25
	return left, right, low - margin, high + margin
}

// ticks are those of an axis that lie on it.
func ticks(low, high float64) []plot.Tick {
	return slices.DeleteFunc(plot.DefaultTicks{}.Ticks(low, high),
		func(t plot.Tick) bool { return t.Value < low || t.Value > high })
}

// coordinate writes a length of a drawing.
func coordinate(v float64) string { return fmt.Sprintf("%.1f", v) }

// barrierChart draws how high the barrier of each line between models is.
func barrierChart(curves []Curve, m Measure) barChart {
	out := barChart{Title: "barrier, loss in nats",
		Note: "How far the line rises at most above straight interpolation between the losses of the parents."}
	format := "%.3f"
	if m == Accuracy {
		out.Title, format = "barrier, accuracy in points", "%.2f"
		out.Note = "How far the line falls at most below straight interpolation between the accuracies of the parents."
	}
	top := 0.0
	for _, c := range curves {
		top = max(top, m.ofBarrier(c.Barrier)*m.scale())
	}
	group := barGroup{}
	for _, c := range curves {
		if len(measured([]Curve{c}, AlongLine, m)) > 0 {
			v := m.ofBarrier(c.Barrier) * m.scale()
			group.Bars = append(group.Bars, bar{c.Label, fmt.Sprintf(format, v), class(c.Method), percent(v, top)})
		}
	}
	out.Groups = []barGroup{group}
	return out
}
