package report

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"path/filepath"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/atomicfile"
)

// Page is a report as one HTML page to look at: no scripts, nothing fetched
// from elsewhere, light and dark, narrow and wide. Parts that are empty are left
// out.
type Page struct {
	Title  string
	Facts  []Fact       // what was fused, and how
	Report Report       // its rows are the headline, its curves are plotted, its nodes colour the graph
	Graph  *graph.Graph // of the anchor; may be nil
}

// Fact is a line of "what was fused".
type Fact struct{ Name, Text string }

// Map is a matrix [source × anchor] between the units of two models.
type Map struct {
	Title, Note string
	Values      mat.Matrix
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
		return fmt.Errorf("report: %w", ErrEmpty)
	}
	v, err := p.view()
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return execute(w, "page", v)
}

// execute writes one template of the page.
func execute(w io.Writer, name string, data any) error {
	css := template.FuncMap{"css": func() template.CSS { return template.CSS(pageCSS) }}
	t, err := template.New("page").Funcs(css).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := t.ExecuteTemplate(w, name, data); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// WritePlots writes every chart of the page into a directory as a picture of
// its own: line-accuracy.svg, line-loss.svg, finetuning-accuracy.svg and
// finetuning-loss.svg, as far as there are curves.
func (p Page) WritePlots(dir string) error {
	for _, kind := range []struct{ name, along string }{{"line", AlongLine}, {"finetuning", AlongUpdates}} {
		for _, m := range []Measure{Accuracy, Loss} {
			c, ok := newChart(p.Report.Curves, kind.along, m)
			if !ok {
				continue
			}
			path := filepath.Join(dir, kind.name+[...]string{"-accuracy", "-loss"}[m]+".svg")
			render := func(w io.Writer) error { return execute(w, "picture", c) }
			if err := atomicfile.WriteFile(path, render); err != nil {
				return err
			}
		}
	}
	return nil
}

// view is the page as the template reads it.
type view struct {
	Title, Data, Backend string
	Lead                 string
	Facts                []Fact
	Tiles                []tile
	Headline             *barChart
	Rows                 []tableRow
	Lines, Tuning        []chart
	Barriers             []barChart
	Maps                 []picture
	Flow                 *flowChart
	Nodes                *nodeTable
}

func (p Page) view() (view, error) {
	v := view{Title: p.Title, Data: p.Report.Data, Backend: p.Report.Backend, Facts: p.Facts,
		Rows: tableRows(p.Report.Rows)}
	v.Lead, v.Tiles, v.Headline = summarise(p.Report.Rows)
	for _, m := range []Measure{Accuracy, Loss} {
		if c, ok := newChart(p.Report.Curves, AlongLine, m); ok {
			for i := range c.Curves {
				c.Curves[i].Last = "" // all lines end at the other model
			}
			v.Lines = append(v.Lines, c)
			v.Barriers = append(v.Barriers, barrierChart(p.Report.Curves, m))
		}
		if c, ok := newChart(p.Report.Curves, AlongUpdates, m); ok {
			v.Tuning = append(v.Tuning, c)
		}
	}
	for _, m := range p.Report.Maps {
		drawn, err := newPicture(m)
		if err != nil {
			return v, fmt.Errorf("map %q: %w", m.Title, err)
		}
		v.Maps = append(v.Maps, drawn)
	}
	v.Nodes = newNodeTable(p.Report.Nodes)
	if p.Graph != nil && len(p.Graph.Nodes) > 0 {
		v.Flow = newFlowChart(p.Graph, p.Report.Nodes)
	}
	return v, nil
}
