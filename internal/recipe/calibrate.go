package recipe

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// Calibration returns what a resolved recipe collects activations on: the first
// Samples of data, of these the ones with a loss below MaxLoss in every one of
// the models.
func (r Recipe) Calibration(ctx context.Context, device *gomlx.Device, data models.Batch,
	ms ...*models.Model) (*gomlx.Calibration, error) {
	var tokens align.Tokens
	a := r.Alignment()
	if a != nil {
		var err error
		if tokens, err = a.TokenFilter(); err != nil {
			return nil, err
		}
	}
	var err error
	data = data.Slice(0, min(r.Samples, data.Len()))
	if r.MaxLoss != nil {
		if data, err = device.FilterByLoss(ctx, data, *r.MaxLoss, ms...); err != nil {
			return nil, fmt.Errorf("max_loss: %w", err)
		}
	}
	c := device.Calibration(data, tokens)
	c.Narrow = a != nil && *a.Narrow
	return c, nil
}
