package main

import (
	"context"
	"math"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/internal/report"
	"github.com/otfuse/otfuse/models"
)

// shrinkageTable asks whether soft plans are better than hard ones by more than what
// they shrink: hard plans are scaled to leave as much of every tensor as soft ones do,
// soft ones as much as hard ones, and the anchor alone is shrunk.
func shrinkageTable() table {
	return table{name: "shrinkage", title: "Soft and hard plans at equal shrinkage", parents: pair,
		trials: []lab.Trial{activations(), exactPlans()[0]}, make: (*study).shrinkage}
}

// shrinkage makes the table.
func (s *study) shrinkage(ctx context.Context) error {
	var aligned []*fuse.Aligned
	for _, t := range s.table.trials {
		t, err := t.Resolved()
		if err != nil {
			return err
		}
		f, err := s.attempt(t, s.groups[0]).Fuse(ctx)
		if err != nil {
			return err
		}
		aligned = append(aligned, f.Aligned)
	}
	soft, hard := aligned[0], aligned[1]
	for _, row := range []struct {
		label  string
		shapes *fuse.Aligned // of the maps
		sizes  *fuse.Aligned // whose norms the carried tensors have
	}{{"soft plans", soft, soft}, {"hard plans", hard, hard}, {"hard plans, shrunk as soft ones", hard, soft},
		{"soft plans, grown as hard ones", soft, hard}} {
		m, err := resized(row.shapes, row.sizes).Mean(nil)
		if err != nil {
			return err
		}
		if err := s.addModel(ctx, report.Row{Method: recipe.Flow, Label: row.label}, m); err != nil {
			return err
		}
	}
	m, err := lab.Shrunk(s.groups[0][0], 0.5)
	if err != nil {
		return err
	}
	return s.addModel(ctx, report.Row{Method: report.Shrunk, Label: "anchor shrunk, × 0.5"}, m)
}

// resized returns a with every carried tensor scaled to the norm that it has in like.
func resized(a, like *fuse.Aligned) *fuse.Aligned {
	out := &fuse.Aligned{Anchor: a.Anchor}
	for i, params := range a.Others {
		scaled := models.Params{}
		for name, t := range params {
			from, to := norm(t.Data), norm(like.Others[i][name].Data)
			values := make([]float32, len(t.Data))
			for k, v := range t.Data {
				values[k] = v
				if from > 0 {
					values[k] = float32(float64(v) * to / from)
				}
			}
			t.Data = values
			scaled[name] = t
		}
		out.Others = append(out.Others, scaled)
	}
	return out
}

// norm is the Euclidean norm of values.
func norm(values []float32) float64 {
	var sum float64
	for _, v := range values {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}
