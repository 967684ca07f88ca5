package fuse

import (
	"context"
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/models"
)

// Collect asks Settings.Calibration for all that [Into] would ask it for, and fuses
// nothing. A [Part] keeps what it is asked for, so that machines share a calibration:
//
//	part, err := fuse.NewPart(dir, 2, 4, "digest of all samples", device.Calibration(share, nil))
//	if err == nil {
//		err = fuse.Collect(ctx, anchor, others, method, &fuse.Settings{Calibration: part})
//	}
//	if err == nil {
//		err = part.Finish()
//	}
//
// Once all parts are made, the calibration of the fusion itself is that of [OpenParts].
//
// A refit asks about models that come of the fusion, so it cannot be asked for before:
// Settings.Refit, and a method that is not of this package, are an error.
func Collect(ctx context.Context, anchor *models.Model, others []*models.Model, m Method, s *Settings) error {
	set, others, err := prepared(anchor, others, s)
	if err != nil {
		return err
	}
	if m == nil {
		m = matchingFor(set)
	}
	asks, ok := m.(asker)
	switch {
	case set.Refit != nil:
		return errRefitParts
	case !ok:
		return fmt.Errorf("fuse: %T does not tell what it would ask a calibration for", m)
	}
	if err := asks.ask(ctx, anchor, others, set); err != nil {
		return fmt.Errorf("fuse: %w", err)
	}
	return nil
}

// errRefitParts reports a refit whose samples are in parts.
var errRefitParts = errors.New("fuse: a refit asks about the fused model, which a calibration in parts does not know")

// An asker is a method that can ask a calibration before it aligns anything.
type asker interface {
	ask(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) error
}

// ask implements [asker]: nothing is asked.
func (Vanilla) ask(context.Context, *models.Model, []*models.Model, Settings) error { return nil }

// ask implements [asker].
func (t Transport) ask(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) error {
	t, err := t.withDefaults(s.Calibration)
	if err != nil {
		return err
	}
	s.MomentBytes = momentBytes(s)
	for i, source := range others {
		run := t.newRun(ctx, source, anchor, s)
		err := run.collect()
		for err == nil && run.collector != nil && len(run.collector.want.Sites) > 0 {
			clear(run.moments)
			err = run.collectNext()
		}
		if err != nil {
			return fmt.Errorf("model %d: %w", i+1, err)
		}
	}
	return nil
}

// ask implements [asker].
func (how Matching) ask(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) error {
	if err := how.check(); err != nil {
		return err
	}
	all, err := loadAll(append([]*models.Model{anchor}, others...))
	if err != nil {
		return err
	}
	u := multiMatcher{how: how, settings: s, anchor: canonical(all[0])}
	for i, src := range all[1:] {
		m, err := newMatcher(how, canonical(src), u.anchor)
		if err == nil {
			err = m.checkWidths()
		}
		if err == nil {
			m.momentBytes = momentBytes(s)
			u.sources = append(u.sources, m)
			_, err = m.collect(ctx, s.Calibration, u.anchor)
		}
		if err != nil {
			return fmt.Errorf("model %d: %w", i+1, err)
		}
	}
	_, err = u.pairMoments(ctx, s.Calibration)
	return err
}

// ask implements [asker]: Start asks.
func (d Distil) ask(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) error {
	switch start := d.Start.(type) {
	case nil:
		return nil
	case asker:
		return start.ask(ctx, anchor, others, s)
	}
	return fmt.Errorf("%T does not tell what it would ask a calibration for", d.Start)
}
