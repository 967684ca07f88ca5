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
// A nil method is the best that the library knows for what it is given and that trains
// nothing; Report.Method says which it was. With a calibration, [Matching] and
// [Concatenation] are tried, each with a [Refit], and what answers more like the mean of all
// models on the samples is returned. Without one, models that read no words are laid side by
// side by Concatenation, unless they turn out to be one network in other orders or bases, and
// language models are matched by their weights. Models of other widths, those without
// an output layer and those that cannot lie side by side are matched, too, and so are all
// with a calibration in [Parts], which is not followed by a refit. What costs as much without
// fusing is [Head]. Nil settings are their zero value.
//
// [Vanilla], [Transport] and, by weights alone and for two models, [Matching] look at
// models tensor by tensor unless a refit follows: where models come from [models.Link] and
// the result goes to Settings.Directory, a few tensors and the plans of one site are held in
// memory, whatever the depth; under Matching also its maps, which are small where they
// permute units or heads. Every other way loads all models.
func Into(ctx context.Context, anchor *models.Model, others []*models.Model, m Method,
	s *Settings) (*models.Model, *Report, error) {
	started := time.Now()
	set, others, err := prepared(anchor, others, s)
	if err != nil {
		return nil, nil, err
	}
	methods := []Method{m}
	if m == nil {
		methods, set = choices(anchor, others, set)
	}
	if by, ok := methods[0].(streamer); ok && len(methods) == 1 && set.Refit == nil {
		if streamed := by.stream(anchor, others, set); streamed != nil {
			fused, nodes, err := streamed.into(ctx, set.Directory)
			if err != nil {
				return nil, nil, fmt.Errorf("fuse: %w", err)
			}
			return fused, &Report{nodes, time.Since(started).Seconds(), methods[0]}, nil
		}
	}
	made, err := chosen(ctx, methods, anchor, others, set)
	if err != nil {
		return nil, nil, err
	}
	fused, err := written(made.fused, set.Directory)
	if err != nil {
		return nil, nil, fmt.Errorf("fuse: %w", err)
	}
	return fused, &Report{made.aligned.Nodes, time.Since(started).Seconds(), made.method}, nil
}

// fusedBy aligns models by a method, takes the mean, refits and trains it.
func fusedBy(ctx context.Context, m Method, anchor *models.Model, others []*models.Model, s Settings) (choice, error) {
	aligned, err := alignedBy(ctx, m, anchor, others, s)
	if err != nil {
		return choice{}, err
	}
	return choice{method: m, aligned: aligned}.finished(ctx, anchor, others, s)
}

// finished takes the mean of what is aligned, refits and trains it.
func (c choice) finished(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (choice,
	error) {
	var err error
	c.fused, err = c.aligned.meanUnlessEnded(ctx, s.Weights)
	if err == nil && s.Refit != nil {
		c.fused, err = s.Refit.Fit(ctx, c.fused, c.aligned, &s)
	}
	if distil, ok := c.method.(Distil); ok && err == nil {
		c.fused, err = distil.Train(ctx, c.fused, append([]*models.Model{anchor}, others...), &s)
	}
	return c, err
}

// Align carries others into the basis of anchor by a method; nil is [Matching], by weights
// alone where there is no calibration.
func Align(ctx context.Context, anchor *models.Model, others []*models.Model, m Method,
	s *Settings) (*Aligned, *Report, error) {
	started := time.Now()
	set, others, err := prepared(anchor, others, s)
	if err != nil {
		return nil, nil, err
	}
	if m == nil {
		m = matchingFor(set)
	}
	aligned, err := alignedBy(ctx, m, anchor, others, set)
	if err != nil {
		return nil, nil, err
	}
	return aligned, &Report{aligned.Nodes, time.Since(started).Seconds(), m}, nil
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
func prepared(anchor *models.Model, others []*models.Model, s *Settings) (Settings, []*models.Model, error) {
	set, err := s.withDefaults(len(others) + 1)
	if err != nil {
		return set, nil, err
	}
	if len(others) == 0 {
		return set, nil, errNothing
	}
	translated := make([]*models.Model, len(others))
	for i, other := range others {
		if translated[i], err = translate(other, anchor); err != nil {
			return set, nil, fmt.Errorf("fuse: model %d: %w", i+1, err)
		}
	}
	return set, translated, nil
}

// errNothing reports that there is no other model.
var errNothing = errors.New("fuse: nothing to fuse into the anchor")
