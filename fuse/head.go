package fuse

import (
	"context"
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Head fits the output layer of the anchor, and nothing else, to what all models answer in
// the mean, as a [Refit] fits layers. Nothing of the others is carried, and they stay in
// their own bases. It needs samples, no labels, and no time: it is what a refitted fusion has
// to beat, and a start for [Distil].
//
// All models have the anchor's shapes, and an output layer of its own, see
// [graph.Graph.Head] and [models.Untie].
type Head struct {
	Ridge float64 // above 0, as that of a [Refit]
}

// errNoHead reports a network without an output layer of its own.
var errNoHead = errors.New("head: the anchor has no output layer of its own, or several")

// Align implements [Method]: the fitted anchor takes the place of every model.
func (h Head) Align(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (*Aligned, error) {
	r := Refit(h)
	if err := r.check(s.Calibration); err != nil {
		return nil, err
	}
	head := anchor.Graph.Head()
	if head == nil {
		return nil, errNoHead
	}
	all, err := loadAll(append([]*models.Model{anchor}, others...))
	if err != nil {
		return nil, err
	}
	var params []models.Params
	for i, m := range all {
		if err := sameShapes(anchor.Shapes(), m.Params); err != nil {
			return nil, fmt.Errorf("head: model %d: %w", i, err)
		}
		params = append(params, m.Params)
	}
	f := r.refitter(all[0], teachersOf(all[0], params), s)
	if err := f.fitLayers(ctx, []*graph.Node{head}); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	out := &Aligned{Anchor: f.fused}
	for range others {
		out.Others = append(out.Others, f.fused.Params)
	}
	return out, nil
}
