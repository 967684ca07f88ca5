package lab

import (
	"context"
	"errors"

	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/models/gomlx"
)

// WithDevice calls a function with the best device that there is, and closes it.
func WithDevice(ctx context.Context, f func(context.Context, *gomlx.Device) error) error {
	d, err := cli.Open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, d), d.Close())
}
