package recipe

import (
	"context"
	"fmt"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// Calibration returns what a resolved recipe collects activations on: the first
// Samples of data, of these the ones with a loss below MaxLoss in every one of
// the models.
func (r Recipe) Calibration(ctx context.Context, device *gomlx.Device, data models.Batch,
	ms ...*models.Model) (*gomlx.Calibration, error) {
	tokens, err := r.TokenFilter()
	if err != nil {
		return nil, err
	}
	data = data.Slice(0, min(r.Samples, data.Len()))
	if r.MaxLoss != nil {
		if data, err = device.FilterByLoss(ctx, data, *r.MaxLoss, ms...); err != nil {
			return nil, fmt.Errorf("max_loss: %w", err)
		}
	}
	c := device.Calibration(data, tokens)
	c.Narrow = *r.Narrow
	return c, nil
}
