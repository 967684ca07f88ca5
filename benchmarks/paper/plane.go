package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/palette/moreland"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

// landscape is the name of the figure that is no table of rows.
const landscape = "landscape"

func landscapeTable() table {
	return table{name: landscape, title: "Loss on the plane through the anchor, the other model and where transport " +
		"carries it",
		parents: pair, trials: []lab.Trial{activations()}, make: (*study).landscape}
}

// plane is the loss around three models, at true distances: the anchor is the
// origin, the first axis points to the other model as transport carries it, and
// the other model as it is lies above the first axis.
type plane struct {
	X      []float64   `json:"x"`
	Y      []float64   `json:"y"`
	Loss   [][]float64 `json:"loss"`     // nats [y][x]
	Right  [][]float64 `json:"accuracy"` // 0 to 1 [y][x]
	Places []place     `json:"places"`
}

// place is a model on the plane.
type place struct {
	Label string  `json:"label"`
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
}

// planeFrame are the three models that span a plane and its frame.
type planeFrame struct {
	anchor               *models.Model
	carried, other       models.Params
	length, foot, height float64 // |carried|, and where other lies: along, above
}

func newPlaneFrame(anchor *models.Model, carried, other models.Params) (planeFrame, error) {
	var tt, to, oo float64
	for name, a := range anchor.Params {
		for i, v := range a.Data {
			t, o := float64(carried[name].Data[i]-v), float64(other[name].Data[i]-v)
			tt, to, oo = tt+t*t, to+t*o, oo+o*o
		}
	}
	c := planeFrame{anchor, carried, other, math.Sqrt(tt), 0, 0}
	c.foot = to / c.length
	c.height = math.Sqrt(oo - c.foot*c.foot)
	if !(c.length > 0 && c.height > 0) {
		return c, errors.New("the three models lie on a line")
	}
	return c, nil
}

// at returns the model at a point of the plane.
func (c planeFrame) at(x, y float64) (*models.Model, error) {
	o := y / c.height
	t := (x - o*c.foot) / c.length
	planeFrame := fuse.Aligned{Anchor: c.anchor, Others: []models.Params{c.carried, c.other}}
	return planeFrame.Mean([]float64{1 - t - o, t, o})
}

// landscape scores models on a grid over the plane and at its marked places.
func (s *study) landscape(ctx context.Context) error {
	parents := s.groups[0]
	t, err := s.table.trials[0].Resolved()
	if err != nil {
		return err
	}
	f, err := s.attempt(t, parents[:2]).Fuse(ctx)
	if err != nil {
		return err
	}
	c, err := newPlaneFrame(parents[0], f.Aligned.Others[0], parents[1].Params)
	if err != nil {
		return err
	}
	p := &plane{Places: []place{{"anchor", 0, 0}, {"other", c.foot, c.height}, {"transported", c.length, 0},
		{"vanilla fusion", c.foot / 2, c.height / 2}, {"transport fusion", c.length / 2, 0}}}
	for _, at := range p.Places {
		m, err := c.at(at.X, at.Y)
		if err != nil {
			return err
		}
		if err := s.addModel(ctx, report.Row{Method: "point", Label: at.Label}, m); err != nil {
			return err
		}
	}
	s.result.Plane = p
	return s.scoreGrid(ctx, p, c)
}

// scoreGrid fills in the grid, which reaches past the models by a fifth.
func (s *study) scoreGrid(ctx context.Context, p *plane, c planeFrame) error {
	low, high := min(0, c.foot), max(c.length, c.foot)
	p.X, p.Y = spacedPoints(low, high, s.scale.Side), spacedPoints(0, c.height, s.scale.Side)
	bar := cli.NewProgress(landscape, len(p.X)*len(p.Y), 0)
	for _, y := range p.Y {
		var loss, right []float64
		for _, x := range p.X {
			m, err := c.at(x, y)
			if err != nil {
				return err
			}
			at, err := s.task.Score(ctx, s.device, m)
			if err != nil {
				return err
			}
			loss, right = append(loss, at.Loss), append(right, at.Accuracy)
			bar.Step(fmt.Sprintf("loss %.3f", at.Loss))
		}
		p.Loss, p.Right = append(p.Loss, loss), append(p.Right, right)
	}
	bar.Done()
	return nil
}

// spacedPoints are n points from low to high and a fifth past both.
func spacedPoints(low, high float64, n int) []float64 {
	past := (high - low) / 5
	out := make([]float64, n)
	for i := range out {
		out[i] = low - past + (high-low+2*past)*float64(i)/float64(n-1)
	}
	return out
}

// draw writes the plane as PNG.
func (p *plane) draw(path string) error {
	d := plot.New()
	d.Title.Text = "Test loss, nats"
	d.X.Label.Text, d.Y.Label.Text = "distance from the anchor", "distance from that line"
	heat := plotter.NewHeatMap(lossGrid{p}, nil)
	colors := moreland.SmoothBlueRed()
	colors.SetMin(heat.Min)
	colors.SetMax(heat.Max)
	heat.Palette = colors.Palette(128)
	marks := plotter.XYLabels{}
	for _, at := range p.Places {
		marks.XYs, marks.Labels = append(marks.XYs, plotter.XY{X: at.X, Y: at.Y}), append(marks.Labels, " "+at.Label)
	}
	dots, err := plotter.NewScatter(marks.XYs)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	labels, err := plotter.NewLabels(marks)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	d.Add(heat, plotter.NewContour(lossGrid{p}, nil, nil), dots, labels)
	to, err := d.WriterTo(7*vg.Inch, 6*vg.Inch, "png")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.WriteFile(path, func(w io.Writer) error {
		_, err := to.WriteTo(w)
		return err
	})
}

// lossGrid shows the losses to the plotter.
type lossGrid struct{ *plane }

func (g lossGrid) Dims() (c, r int)   { return len(g.plane.X), len(g.plane.Y) }
func (g lossGrid) Z(c, r int) float64 { return g.Loss[r][c] }
func (g lossGrid) X(c int) float64    { return g.plane.X[c] }
func (g lossGrid) Y(r int) float64    { return g.plane.Y[r] }
