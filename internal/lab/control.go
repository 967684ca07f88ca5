package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

// Shrunk returns an anchor whose weights, tables and biases are scaled by its share of
// a fused model: what such a model would be if nothing of the others came through
// alignment. Gains of norms stay as they are, as theirs are alike in all models.
func Shrunk(anchor *models.Model, share float64) (*models.Model, error) {
	if anchor == nil {
		return nil, errors.New("lab: there is no anchor to shrink")
	}
	m, err := anchor.Load()
	if err != nil {
		return nil, err
	}
	scaled := models.Params{}
	for _, p := range m.Graph.Params() {
		if p.Role == graph.RoleGain {
			continue
		}
		if _, done := scaled[p.Name]; done {
			continue // a part of a packed tensor
		}
		t := m.Params[p.Name]
		values := make([]float32, len(t.Data))
		for i, v := range t.Data {
			values[i] = float32(share * float64(v))
		}
		t.Data = values
		scaled[p.Name] = t
	}
	return m.Replace(scaled), nil
}

// UniformShare returns the point on the line from the anchor to the mean of the other
// aligned models that is as far from the anchor as a fused model is, and the weights
// of all models there. A fused model that was trained or refitted has to beat it: going
// back to the anchor is the easiest way to get better. It returns nil for a fused model
// that is farther away than the others are.
func UniformShare(a *fuse.Aligned, fused *models.Model) (*models.Model, []float64, error) {
	others := make([]float64, len(a.Others)+1)
	for i := range a.Others {
		others[i+1] = 1 / float64(len(a.Others))
	}
	factors := fuse.Aligned{Anchor: a.Anchor, Others: a.Others} // whose means lie on a straight line
	end, err := factors.Mean(others)
	if err != nil {
		return nil, nil, err
	}
	length := distance(end, a.Anchor)
	if length == 0 {
		return nil, nil, nil
	}
	t := distance(fused, a.Anchor) / length
	if t > 1 {
		return nil, nil, nil
	}
	others[0] = 1 - t
	for i := range a.Others {
		others[i+1] *= t
	}
	m, err := a.Mean(others)
	return m, others, err
}

// distance is the Euclidean distance of the parameters of two models of the same shapes.
func distance(a, b *models.Model) float64 {
	var sum float64
	for _, name := range slices.Sorted(maps.Keys(a.Params)) { // in one order, so that the sum has the same bits
		own := a.Params[name].Data
		for i, v := range b.Params[name].Data {
			d := float64(own[i]) - float64(v)
			sum += d * d
		}
	}
	return math.Sqrt(sum)
}

// scoreShrunk adds the row of the anchors, shrunk to the share of a mean of all parents.
func (r *run) scoreShrunk(ctx context.Context) error {
	share := 1 / float64(len(r.Groups[0]))
	row := report.Row{Method: report.Shrunk, Label: fmt.Sprintf("anchor shrunk, × %.2g", share),
		Options: map[string]float64{"share": share}}
	var failed error
	pick := func(group []*models.Model) []*models.Model {
		m, err := Shrunk(group[0], share)
		failed = errors.Join(failed, err)
		return []*models.Model{m}
	}
	if err := r.scoreGroups(ctx, row, pick); err != nil {
		return errors.Join(failed, err)
	}
	return failed
}

// scoreUniform scores the control of a fusion that is on no line between the models.
func (r *run) scoreUniform(ctx context.Context, o *Outcome, f *Fusion) error {
	if _, sideBySide := f.Report.Method.(fuse.Concatenation); !r.Controls || o.uniform == nil || sideBySide {
		return nil
	}
	m, weights, err := UniformShare(f.Aligned, f.Model)
	if err != nil || m == nil {
		return err
	}
	s, err := r.Task.Score(ctx, r.device, m)
	if err != nil {
		return err
	}
	if len(o.uniform.Scores) == 0 {
		options := *o.uniform.Row.Options.(*recipe.Recipe)
		options.Weights = weights
		o.uniform.Row.Options, o.uniform.Models = options, []*models.Model{m}
	}
	o.uniform.Scores = append(o.uniform.Scores, s)
	return nil
}

// uniformOf begins the row of the control of a trial, nil where it needs none: a mean
// is on the line already, and a distilled anchor and models side by side on none.
func uniformOf(t Trial, row report.Row) *Outcome {
	a := t.Recipe.Alignment()
	if a == nil || a.Method == recipe.Vanilla || a.Method == recipe.Concatenate || a.Refit == 0 && !t.Recipe.Distils() {
		return nil
	}
	on := *a
	on.Refit = 0
	return &Outcome{Row: report.Row{Method: on.Method, Label: row.Label + uniformSuffix,
		Options: &on, Seen: row.Seen}}
}

// uniformSuffix ends the label of a control that lies as far from the anchor as the
// model beside it.
const uniformSuffix = ": uniform share as far from the anchor"
