package training

import (
	"context"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A Nursling is a network to be trained from scratch.
type Nursling interface {
	// Start returns it before its training, and the recipe of that.
	Start() (*models.Model, gomlx.TrainConfig, error)
	// Train trains it by a trainer made for both.
	Train(context.Context, *gomlx.Trainer, *gomlx.Device) error
}

// Raise trains a network on a device of its own, which is opened once the
// network is found sound.
func Raise(ctx context.Context, n Nursling) error {
	m, recipe, err := n.Start()
	if err != nil {
		return err
	}
	device, err := gomlx.Open(ctx, cli.Opening)
	if err != nil {
		return err
	}
	defer device.Close()
	trainer, err := device.Trainer(m, recipe)
	if err != nil {
		return err
	}
	defer trainer.Close()
	return n.Train(ctx, trainer, device)
}
