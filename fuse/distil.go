package fuse

import (
	"context"
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/models"
)

// Distil trains one model until it answers as all models do in the mean, on samples
// without labels. It needs no alignment, so it is what fusion has to beat; it can
// also begin where another method ends:
//
//	Distil{Distiller: d}                      trains the anchor as it is
//	Distil{Start: Vanilla{}, Distiller: d}    trains the mean of the models as they are
//	Distil{Start: Matching{}, Distiller: d}   trains the mean of the aligned models
//
// Another parent is trained by making it the anchor. [Settings] hold for the start:
// a refit comes before training, and Settings.Weights are those of the mean and of
// the answers alike.
//
// Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).
type Distil struct {
	Start     Method    // aligns the models whose mean is trained; nil for the anchor alone
	Distiller Distiller // trains; models/gomlx has one
}

// A Distiller trains models on the answers of others. models/gomlx has one.
type Distiller interface {
	// Distil returns what becomes of student, a model of the same shapes, by learning
	// the weighted mean of the probabilities that teachers answer. Weights are one for
	// each teacher, of sum 1; nil means equal.
	Distil(ctx context.Context, student *models.Model, teachers []*models.Model, weights []float64) (
		*models.Model, error)
}

// errNoDistiller reports a Distil that cannot train.
var errNoDistiller = errors.New("distil: there is no Distiller: set Distil.Distiller")

// Align implements [Method]: it aligns as Start does. Where Start is nil, nothing of
// the others is carried and the anchor takes the place of each. What distillation
// makes is on no line between models; [Into] trains, and so does [Distil.Train].
func (d Distil) Align(ctx context.Context, anchor *models.Model, others []*models.Model,
	s Settings) (*Aligned, error) {
	if d.Distiller == nil {
		return nil, errNoDistiller
	}
	if d.Start != nil {
		return d.Start.Align(ctx, anchor, others, s)
	}
	anchor, err := anchor.Load()
	if err != nil {
		return nil, err
	}
	out := &Aligned{Anchor: anchor}
	for range others {
		out.Others = append(out.Others, anchor.Params)
	}
	return out, nil
}

// Train trains a model, which may come from anywhere, on the answers of teachers that
// correspond to it node by node; Settings.Weights are those of the teachers. Start
// plays no part.
func (d Distil) Train(ctx context.Context, student *models.Model, teachers []*models.Model,
	s *Settings) (*models.Model, error) {
	if d.Distiller == nil {
		return nil, fmt.Errorf("fuse: %w", errNoDistiller)
	}
	set, err := s.withDefaults(len(teachers))
	if err != nil {
		return nil, err
	}
	all := make([]*models.Model, len(teachers))
	for i, m := range teachers {
		if m, err = teacherOf(m, student); err == nil {
			all[i], err = m.Load()
		}
		if err != nil {
			return nil, fmt.Errorf("fuse: distil: teacher %d: %w", i, err)
		}
	}
	if student, err = student.Load(); err != nil {
		return nil, fmt.Errorf("fuse: distil: %w", err)
	}
	out, err := d.Distiller.Distil(ctx, student, all, set.Weights)
	if err != nil {
		return nil, fmt.Errorf("fuse: distil: %w", err)
	}
	if out == nil {
		return nil, fmt.Errorf("fuse: distil: %T returned no model", d.Distiller)
	}
	if err := sameShapes(student.Shapes(), out.Params); err != nil {
		return nil, fmt.Errorf("fuse: distil: %T: %w", d.Distiller, err)
	}
	return out, nil
}
