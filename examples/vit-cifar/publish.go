package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/palette/moreland"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/htmlreport"
)

// publish prints the table and writes the report and the plots of what there
// is.
func (s *story) publish() error {
	path := s.options.report
	if path == "" {
		path = filepath.Join(s.out, "report.json")
	}
	errs := []error{s.report.Write(path)}
	line, tuning := map[string][]point{}, map[string][]point{}
	for name, c := range s.curves {
		if strings.HasSuffix(name, tuned) {
			tuning[name] = c
		} else {
			line[name] = c
		}
	}
	errs = append(errs,
		curves(filepath.Join(s.out, "line.png"), "From the anchor to the other model", "share of the other model, moved by", line),
		curves(filepath.Join(s.out, "finetuning.png"), "Finetuning on equal budgets", "updates", tuning),
		s.heatmap(filepath.Join(s.out, "map.png")),
		s.page(line, tuning).WriteFile(filepath.Join(s.out, "report.html")))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	cli.Notice("wrote report.html, report.json, plots and checkpoints to %s", s.out)
	return s.report.Print(os.Stdout)
}

// page is the report to look at.
func (s *story) page(line, tuning map[string][]point) htmlreport.Page {
	anchor := s.parents[0]
	p := htmlreport.Page{Title: fmt.Sprintf("Fusing %d vision transformers", len(s.parents)), Report: s.report, Graph: anchor.Graph,
		Lines: s.plots("share of the other model", line), Tuning: s.plots("updates", tuning)}
	for k, m := range s.parents {
		p.Facts = append(p.Facts, htmlreport.Describe(parentLabel(k), m))
	}
	p.Facts = append(p.Facts, htmlreport.Fact{Name: "calibrated on", Text: fmt.Sprintf("%d training images, without their labels", s.calib.Len())},
		htmlreport.Fact{Name: "scored on", Text: fmt.Sprintf("%d test images; curves on the first %d", s.test.Len(), s.quick.Len())})
	if len(s.report.Nodes) > 0 {
		p.Facts = append(p.Facts, htmlreport.Fact{Name: "flow graph and nodes", Text: s.main().label})
	}
	for _, f := range s.best() {
		if rep := s.reports[f.label]; rep != nil {
			p.Maps = append(p.Maps, htmlreport.Spread(rep, 4, f.label)...)
		}
	}
	return p
}

// plots are the curves in order of the rows, by accuracy and by loss.
func (s *story) plots(x string, cs map[string][]point) []htmlreport.Plot {
	out := []htmlreport.Plot{{Measure: htmlreport.Accuracy, Title: "Accuracy", X: x}, {Measure: htmlreport.Loss, Title: "Loss", X: x}}
	add := func(method, label string) {
		accuracy, loss := htmlreport.Curve{Method: method, Label: label}, htmlreport.Curve{Method: method, Label: label}
		for _, p := range cs[label] {
			accuracy.Points = append(accuracy.Points, htmlreport.Point{X: p.X, Y: p.Accuracy})
			loss.Points = append(loss.Points, htmlreport.Point{X: p.X, Y: p.Loss})
		}
		out[0].Curves, out[1].Curves = append(out[0].Curves, accuracy), append(out[1].Curves, loss)
	}
	add("vanilla", asItIs)
	for _, r := range s.report.Rows {
		add(r.Method, r.Label)
	}
	return out
}

// curves draws accuracies; nothing where there are none.
func curves(path, title, x string, cs map[string][]point) error {
	if len(cs) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, "test accuracy, %"
	p.Legend.XOffs, p.Legend.YOffs = -vg.Points(12), vg.Points(6)
	p.Add(plotter.NewGrid())
	var args []any
	for _, name := range slices.Sorted(maps.Keys(cs)) {
		xy := make(plotter.XYs, len(cs[name]))
		for i, c := range cs[name] {
			xy[i] = plotter.XY{X: c.X, Y: 100 * c.Accuracy}
		}
		args = append(args, name, xy)
	}
	if err := plotutil.AddLinePoints(p, args...); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.X.Max += (p.X.Max - p.X.Min) / 40 // markers at the end stay whole
	return draw(p, path, 7*vg.Inch, 5*vg.Inch)
}

// heatmap draws the map of the values of a middle layer.
func (s *story) heatmap(path string) error {
	if len(s.fusions) == 0 {
		return nil
	}
	rep := s.reports[s.best()[0].label]
	if rep == nil {
		return nil
	}
	name := fmt.Sprintf("vit.encoder.layer.%d.attention.attention.value", s.parents[0].Config.Layers/2)
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
		return draw(p, path, 6*vg.Inch, 6*vg.Inch)
	}
	return nil
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
