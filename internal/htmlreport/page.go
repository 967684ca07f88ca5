// Package htmlreport writes what a program found as one HTML page to look at:
// no scripts, nothing fetched from elsewhere, light and dark, narrow and wide.
package htmlreport

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
)

// A Page is what is shown. Parts that are empty are left out.
type Page struct {
	Title  string
	Facts  []Fact       // what was fused, and how
	Report cli.Report   // its rows are the headline, its nodes colour the graph
	Lines  []Plot       // along straight lines between two models, x from 0 to 1
	Tuning []Plot       // along trainings, x in updates
	Maps   []Map        // some of the maps between units
	Graph  *graph.Graph // of the anchor; may be nil
}

// A Fact is a line of "what was fused".
type Fact struct{ Name, Text string }

// Describe says what a model is.
func Describe(name string, m *models.Model) Fact {
	d := m.Dims()
	return Fact{name, fmt.Sprintf("%s, %d layers, %d wide, %d heads, MLP %d, %.3g million parameters", m.Arch.Class, d.Depth, d.Width, d.Heads, d.MLP,
		float64(m.Size())/1e6)}
}

// A Plot is some curves of one measure.
type Plot struct {
	Measure Measure
	Title   string
	X       string // label of the axis
	Curves  []Curve
}

// A Curve belongs to a method of the report, which gives it its colour.
type Curve struct {
	Method, Label string
	Points        []Point
	Barrier       float64 // of a line between models, in the unit of the measure
}

// A Point of a curve; Y is in the unit of the measure.
type Point struct{ X, Y float64 }

// A Map is a matrix [source × anchor] between the units of two models.
type Map struct {
	Title, Note string
	Values      mat.Matrix
}

// A Measure says how good a model is.
type Measure uint8

// The measures.
const (
	Accuracy Measure = iota // of 0 to 1, shown in %
	Loss                    // nats
)

// String is the label of an axis.
func (m Measure) String() string { return [...]string{"accuracy, %", "loss, nats"}[m] }

// text formats a value with its unit.
func (m Measure) text(v float64) string {
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

// of returns the measure of a row, or nil where it has none.
func (m Measure) of(r cli.Row) *float64 {
	v := r.Loss
	if m == Accuracy {
		v = r.Accuracy
	}
	if v == nil || !finite(*v) {
		return nil
	}
	return v
}

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
)

// ErrEmpty reports a page whose report has no rows.
var ErrEmpty = errors.New("there are no rows to show")

// WriteFile writes the page to path, whole or not at all.
func (p Page) WriteFile(path string) error {
	return atomicfile.WriteFile(path, p.Render)
}

// Render writes the page as HTML that is well-formed XML too.
func (p Page) Render(w io.Writer) error {
	if len(p.Report.Rows) == 0 {
		return fmt.Errorf("htmlreport: %w", ErrEmpty)
	}
	v, err := p.view()
	if err != nil {
		return fmt.Errorf("htmlreport: %w", err)
	}
	t, err := template.New("page").Funcs(template.FuncMap{"css": func() template.CSS { return template.CSS(pageCSS) }}).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("htmlreport: %w", err)
	}
	if err := t.Execute(w, v); err != nil {
		return fmt.Errorf("htmlreport: %w", err)
	}
	return nil
}

// view is the page as the template reads it.
type view struct {
	Title, Data, Backend string
	Lead                 string
	Facts                []Fact
	Tiles                []tile
	Headline             *bars
	Rows                 []row
	Lines, Tuning        []chart
	Barriers             []bars
	Maps                 []picture
	Flow                 *flow
	Nodes                *nodes
}

func (p Page) view() (view, error) {
	v := view{Title: p.Title, Data: p.Report.Data, Backend: p.Report.Backend, Facts: p.Facts, Rows: rows(p.Report.Rows)}
	v.Lead, v.Tiles, v.Headline = headline(p.Report.Rows)
	for _, l := range p.Lines {
		if c, ok := draw(l); ok {
			for i := range c.Curves {
				c.Curves[i].Last = "" // all lines end at the other model
			}
			v.Lines = append(v.Lines, c)
			v.Barriers = append(v.Barriers, barriers(l))
		}
	}
	for _, l := range p.Tuning {
		if c, ok := draw(l); ok {
			v.Tuning = append(v.Tuning, c)
		}
	}
	for _, m := range p.Maps {
		pic, err := paint(m)
		if err != nil {
			return v, fmt.Errorf("map %q: %w", m.Title, err)
		}
		v.Maps = append(v.Maps, pic)
	}
	v.Nodes = tabulate(p.Report.Nodes)
	if p.Graph != nil && len(p.Graph.Nodes) > 0 {
		v.Flow = layout(p.Graph, p.Report.Nodes)
	}
	return v, nil
}
