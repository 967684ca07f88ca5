package htmlreport

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
)

// A chart is a plot laid out.
type chart struct {
	Title, X, Y  string
	XTicks       []tick
	YTicks       []tick
	Curves       []line
	Width        int
	Height       int
	Left, Right  int
	Top, Bottom  int
	MidX, MidY   int
	AxisX, AxisY int
}

type tick struct{ At, Label string }

// A line is a curve laid out; Dash tells curves of one method apart.
type line struct {
	Label, Class, Dash, Path, Last string
	Dots                           []dot
}

type dot struct{ X, Y, Text string }

// draw lays a plot out, or reports that there is nothing to draw.
func draw(p Plot) (chart, bool) {
	curves := tidy(p)
	if len(curves) == 0 {
		return chart{}, false
	}
	x0, x1, y0, y1 := extent(curves)
	xs, ys := ticks(x0, x1), ticks(y0, y1)
	px := func(x float64) float64 {
		return chartLeft + (x-x0)/(x1-x0)*(chartWidth-chartLeft-chartRight)
	}
	py := func(y float64) float64 {
		return chartHeight - chartBottom - (y-y0)/(y1-y0)*(chartHeight-chartTop-chartBottom)
	}
	c := chart{Title: p.Title, X: p.X, Y: p.Measure.String(), Width: chartWidth, Height: chartHeight,
		Left: chartLeft, Right: chartWidth - chartRight, Top: chartTop, Bottom: chartHeight - chartBottom,
		MidX: (chartWidth + chartLeft) / 2, MidY: (chartHeight - chartBottom) / 2, AxisX: chartHeight - 6, AxisY: 11}
	for _, t := range xs {
		if !t.IsMinor() {
			c.XTicks = append(c.XTicks, tick{at(px(t.Value)), t.Label})
		}
	}
	for _, t := range ys {
		c.YTicks = append(c.YTicks, tick{at(py(t.Value)), t.Label})
	}
	seen := map[string]int{}
	for _, k := range curves {
		l := line{Label: k.Label, Class: class(k.Method), Dash: fmt.Sprintf("dash%d", seen[class(k.Method)]%3)}
		seen[l.Class]++
		var path strings.Builder
		for i, q := range k.Points {
			x, y := at(px(q.X)), at(py(q.Y))
			path.WriteString([]string{"M", "L"}[min(i, 1)] + x + " " + y)
			l.Dots = append(l.Dots, dot{x, y, fmt.Sprintf("%s: %s at %.4g", k.Label, p.Measure.text(q.Y/p.Measure.scale()), q.X)})
		}
		l.Path, l.Last = path.String(), p.Measure.text(k.Points[len(k.Points)-1].Y/p.Measure.scale())
		c.Curves = append(c.Curves, l)
	}
	return c, true
}

// tidy returns the curves in the unit that is shown, without what is no number.
func tidy(p Plot) []Curve {
	var out []Curve
	for _, c := range p.Curves {
		k := Curve{Method: c.Method, Label: c.Label, Barrier: c.Barrier * p.Measure.scale()}
		for _, q := range c.Points {
			if finite(q.X) && finite(q.Y) {
				k.Points = append(k.Points, Point{q.X, q.Y * p.Measure.scale()})
			}
		}
		if len(k.Points) > 0 {
			out = append(out, k)
		}
	}
	return out
}

// extent is the box around all curves, never flat.
func extent(cs []Curve) (x0, x1, y0, y1 float64) {
	x0, y0 = math.Inf(1), math.Inf(1)
	x1, y1 = math.Inf(-1), math.Inf(-1)
	for _, c := range cs {
		for _, p := range c.Points {
			x0, x1, y0, y1 = min(x0, p.X), max(x1, p.X), min(y0, p.Y), max(y1, p.Y)
		}
	}
	if x0 == x1 {
		x1 = x0 + 1
	}
	if y0 == y1 {
		y0, y1 = y0-0.5, y0+0.5
	}
	margin := (y1 - y0) / 25
	return x0, x1, y0 - margin, y1 + margin
}

// ticks are those of an axis that lie on it.
func ticks(lo, hi float64) []plot.Tick {
	return slices.DeleteFunc(plot.DefaultTicks{}.Ticks(lo, hi), func(t plot.Tick) bool { return t.Value < lo || t.Value > hi })
}

func at(v float64) string { return fmt.Sprintf("%.1f", v) }

// barriers draws how high the barrier of each curve is.
func barriers(p Plot) bars {
	b := bars{Title: "barrier, loss in nats", Note: "How far the line rises at most above straight interpolation between the losses of the parents."}
	format := "%.3f"
	if p.Measure == Accuracy {
		b = bars{Title: "barrier, accuracy in points", Note: "How far the line falls at most below straight interpolation between the accuracies of the parents."}
		format = "%.2f"
	}
	curves, top := tidy(p), 0.0
	for _, c := range curves {
		top = max(top, c.Barrier)
	}
	g := group{}
	for _, c := range curves {
		g.Bars = append(g.Bars, bar{c.Label, fmt.Sprintf(format, c.Barrier), class(c.Method), percent(c.Barrier, top)})
	}
	b.Groups = []group{g}
	return b
}
