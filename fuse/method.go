package fuse

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/models"
)

// A Method brings models into the basis of an anchor: [Vanilla], [Transport],
// [Matching] or, to train further, [Distil]. All [Settings] are honored for all methods.
type Method interface {
	// Align carries others into the basis of anchor. It leaves its arguments as
	// they are; what it returns holds one set of parameters for each of others,
	// with the names and shapes of the anchor's.
	Align(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (*Aligned, error)
}

// Vanilla leaves every model in its own basis, so that fusing takes the plain
// mean of weights. It is the baseline that alignment has to beat.
type Vanilla struct{}

// Align implements [Method]. The models must have the same shapes.
func (v Vanilla) Align(ctx context.Context, anchor *models.Model, others []*models.Model,
	s Settings) (*Aligned, error) {
	anchor, err := anchor.Load()
	if err != nil {
		return nil, err
	}
	out := &Aligned{Anchor: anchor}
	for i, m := range others {
		own, err := asTheyAre(m, anchor)
		if err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		p, err := loadTensors(ctx, own, anchor)
		if err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		out.Others = append(out.Others, p)
		s.observe("averaging", "", i+1, 0)
	}
	return out, nil
}

// stream implements [streamer].
func (v Vanilla) stream(anchor *models.Model, others []*models.Model, s Settings) *stream {
	return &stream{anchor, func(ctx context.Context, put putter) ([]NodeReport, error) {
		all := []tensors{anchor}
		for i, m := range others {
			own, err := asTheyAre(m, anchor)
			if err != nil {
				return nil, fmt.Errorf("model %d: %w", i+1, err)
			}
			all = append(all, own)
		}
		return nil, putMean(ctx, anchor, all, s, put)
	}}
}
