package fuse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/otfuse/otfuse/models"
)

// Into fuses others into the basis of anchor: the method aligns them, then the
// weighted mean of all is taken and refitted where Settings.Refit says so, and
// [Distil] trains what has come of it. The result is a model of the anchor's shapes;
// the arguments are left as they are.
//
// A nil method is the best alignment that the library knows for what it is given, which
// need not be the best that there is, see [Head] and [Distil]: [Matching], by
// weights alone where there is no calibration, else by weights and activations, and a
// [Refit] of what comes of it unless the calibration is one in [Parts]. Nil settings are
// their zero value.
//
// [Vanilla], [Transport] and, by weights alone and for two models, [Matching] look at
// models tensor by tensor unless a refit follows: where models come from [models.Link] and
// the result goes to Settings.Directory, a few tensors and the plans of one site are held in
// memory, whatever the depth; under Matching also its maps, which are small where they
// permute units or heads. Every other way loads all models.
func Into(ctx context.Context, anchor *models.Model, others []*models.Model, m Method,
	s *Settings) (*models.Model, *Report, error) {
	started := time.Now()
	if m == nil {
		s = s.refitted()
	}
	set, m, others, err := prepared(anchor, others, m, s)
	if err != nil {
		return nil, nil, err
	}
	if by, ok := m.(streamer); ok && set.Refit == nil {
		if made := by.stream(anchor, others, set); made != nil {
			fused, nodes, err := made.into(ctx, set.Directory)
			if err != nil {
				return nil, nil, fmt.Errorf("fuse: %w", err)
			}
			return fused, &Report{nodes, time.Since(started).Seconds()}, nil
		}
	}
	aligned, err := alignedBy(ctx, m, anchor, others, set)
	if err != nil {
		return nil, nil, err
	}
	fused, err := aligned.meanUnlessEnded(ctx, set.Weights)
	if err == nil && set.Refit != nil {
		fused, err = set.Refit.Fit(ctx, fused, aligned, &set)
	}
	if distil, ok := m.(Distil); ok && err == nil {
		fused, err = distil.Train(ctx, fused, append([]*models.Model{anchor}, others...), &set)
	}
	if err != nil {
		return nil, nil, err
	}
	if fused, err = written(fused, set.Directory); err != nil {
		return nil, nil, fmt.Errorf("fuse: %w", err)
	}
	return fused, &Report{aligned.Nodes, time.Since(started).Seconds()}, nil
}

// Align carries others into the basis of anchor by a method; nil is that of
// [Into], without the refit.
func Align(ctx context.Context, anchor *models.Model, others []*models.Model, m Method,
	s *Settings) (*Aligned, *Report, error) {
	started := time.Now()
	set, m, others, err := prepared(anchor, others, m, s)
	if err != nil {
		return nil, nil, err
	}
	aligned, err := alignedBy(ctx, m, anchor, others, set)
	if err != nil {
		return nil, nil, err
	}
	return aligned, &Report{aligned.Nodes, time.Since(started).Seconds()}, nil
}

// alignedBy runs a method on what is prepared and checks what it returns.
func alignedBy(ctx context.Context, m Method, anchor *models.Model, others []*models.Model,
	s Settings) (*Aligned, error) {
	aligned, err := m.Align(ctx, anchor, others, s)
	if err != nil {
		return nil, fmt.Errorf("fuse: %w", err)
	}
	if err := aligned.check(anchor, len(others)); err != nil {
		return nil, fmt.Errorf("fuse: %T: %w", m, err)
	}
	return aligned, nil
}

// prepared checks models and settings, fills in defaults and translates the others into
// the conventions of the anchor.
func prepared(anchor *models.Model, others []*models.Model, m Method, s *Settings) (Settings, Method, []*models.Model,
	error) {
	set, err := s.withDefaults(len(others) + 1)
	if err != nil {
		return set, nil, nil, err
	}
	if len(others) == 0 {
		return set, nil, nil, errNothing
	}
	translated := make([]*models.Model, len(others))
	for i, other := range others {
		if translated[i], err = translate(other, anchor); err != nil {
			return set, nil, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
	}
	if m == nil {
		m = best(set)
	}
	return set, m, translated, nil
}

// errNothing reports that there is no other model.
var errNothing = errors.New("fuse: nothing to fuse into the anchor")
