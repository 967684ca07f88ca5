package story

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/palette/moreland"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/htmlreport"
)

// publish prints the table and writes the report, to read and to look at, and
// the plots of what there is.
func (s *Story) publish() error {
	path := s.File
	if path == "" {
		path = filepath.Join(s.Out, "report.json")
	}
	if err := errors.Join(s.Report.Write(path),
		s.curves("line.png", "From the anchor to the other model", share),
		s.curves("finetuning.png", "Finetuning on equal budgets", updates),
		s.heatmap("map.png"),
		s.page().WriteFile(filepath.Join(s.Out, "report.html"))); err != nil {
		return err
	}
	cli.Notice("wrote report.html, report.json, plots and checkpoints to %s", s.Out)
	return s.Report.Print(os.Stdout)
}

// page is the report to look at.
func (s *Story) page() htmlreport.Page {
	p := htmlreport.Page{Title: s.Title, Report: s.Report, Graph: s.Parents[0].Graph, Lines: s.plots(share), Tuning: s.plots(updates)}
	for k, m := range s.Parents {
		p.Facts = append(p.Facts, htmlreport.Describe(parentLabel(k), m))
	}
	p.Facts = append(p.Facts, htmlreport.Fact{Name: "calibrated on", Text: fmt.Sprintf("%d training %s, without their labels", s.Calib.Len(), s.Samples)},
		htmlreport.Fact{Name: "scored on", Text: fmt.Sprintf("%d test %s; curves on the first %d", s.Tests, s.Samples, s.Quick.Len())})
	if len(s.Report.Nodes) > 0 {
		p.Facts = append(p.Facts, htmlreport.Fact{Name: "flow graph and nodes", Text: s.Main().Label})
	}
	for _, f := range s.Best() {
		if rep := s.reports[f.Label]; rep != nil {
			p.Maps = append(p.Maps, htmlreport.Spread(rep, 4, f.Label)...)
		}
	}
	return p
}

// plots are the curves along an axis, by accuracy and by loss.
func (s *Story) plots(along string) []htmlreport.Plot {
	out := []htmlreport.Plot{{Measure: htmlreport.Accuracy, Title: "Accuracy", X: along}, {Measure: htmlreport.Loss, Title: "Loss", X: along}}
	for _, c := range s.Report.Curves {
		if c.Along != along {
			continue
		}
		accuracy, loss := htmlreport.Curve{Method: c.Method, Label: c.Label}, htmlreport.Curve{Method: c.Method, Label: c.Label}
		if c.Barrier != nil {
			accuracy.Barrier, loss.Barrier = c.Barrier.Accuracy, c.Barrier.Loss
		}
		for _, p := range c.Points {
			accuracy.Points = append(accuracy.Points, htmlreport.Point{X: p.X, Y: p.Accuracy})
			loss.Points = append(loss.Points, htmlreport.Point{X: p.X, Y: p.Loss})
		}
		out[0].Curves, out[1].Curves = append(out[0].Curves, accuracy), append(out[1].Curves, loss)
	}
	return out
}

// A Measure is what the plots show.
type Measure struct {
	Name string // with its unit
	Of   func(cli.Point) float64
}

// Accuracy is the share of the labels that are found, in %.
func Accuracy() Measure {
	return Measure{"test accuracy, %", func(p cli.Point) float64 { return 100 * p.Accuracy }}
}

// Loss is the cross-entropy.
func Loss() Measure {
	return Measure{"test loss, nats", func(p cli.Point) float64 { return p.Loss }}
}

// curves draws the curves along an axis; nothing where there are none.
func (s *Story) curves(file, title, along string) error {
	var args []any
	for _, c := range s.Report.Curves {
		if c.Along != along {
			continue
		}
		xy := make(plotter.XYs, len(c.Points))
		for i, p := range c.Points {
			xy[i] = plotter.XY{X: p.X, Y: s.Measure.Of(p)}
		}
		args = append(args, c.Label, xy)
	}
	if len(args) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, along, s.Measure.Name
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(12), vg.Points(6)
	p.Add(plotter.NewGrid())
	if err := plotutil.AddLinePoints(p, args...); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	p.X.Max += (p.X.Max - p.X.Min) / 40 // markers at the end stay whole
	return draw(p, filepath.Join(s.Out, file), 7*vg.Inch, 5*vg.Inch)
}

// heatmap draws the map of the values of a middle layer.
func (s *Story) heatmap(file string) error {
	if len(s.Fusions) == 0 {
		return nil
	}
	rep, name := s.reports[s.Best()[0].Label], s.values()
	if rep == nil {
		return nil
	}
	for _, n := range rep.Nodes {
		m := n.Push()
		if n.Name != name || n.Source != 0 || m == nil {
			continue
		}
		p := plot.New()
		p.Title.Text = "Transport map of " + name
		p.X.Label.Text, p.Y.Label.Text = "unit of the anchor", "unit of the other model"
		colors := moreland.SmoothBlueRed()
		colors.SetMin(min(0, mat.Min(m)))
		colors.SetMax(mat.Max(m))
		p.Add(plotter.NewHeatMap(grid{m}, colors.Palette(64)))
		return draw(p, filepath.Join(s.Out, file), 6*vg.Inch, 6*vg.Inch)
	}
	return nil
}

// values names the linear layer of the values of the middle attention.
func (s *Story) values() string {
	var all []*graph.Node
	for _, n := range s.Parents[0].Graph.Nodes {
		if n.Op == graph.Attend {
			all = append(all, n.Args[2])
		}
	}
	if len(all) == 0 {
		return ""
	}
	return all[len(all)/2].Name
}

// draw writes a plot as PNG, whole or not at all.
func draw(p *plot.Plot, path string, w, h vg.Length) error {
	c, err := p.WriterTo(w, h, "png")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.WriteFile(path, func(to io.Writer) error {
		_, err := c.WriteTo(to)
		return err
	})
}

// grid shows a matrix to the plotter.
type grid struct{ m *mat.Dense }

func (g grid) Dims() (c, r int)   { r, c = g.m.Dims(); return c, r }
func (g grid) Z(c, r int) float64 { return g.m.At(r, c) }
func (g grid) X(c int) float64    { return float64(c) }
func (g grid) Y(r int) float64    { return float64(r) }
