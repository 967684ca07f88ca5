package interruptible

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRun: a computation that never looks at its context is left when that ends.
func TestRun(t *testing.T) {
	cause := errors.New("cause")
	require.NoError(t, Run(t.Context(), func() error { return nil }))
	require.ErrorIs(t, Run(t.Context(), func() error { return cause }), cause)
	require.ErrorContains(t, Run(t.Context(), func() error { panic("mat: zero length") }), "mat: zero length")

	ctx, cancel := context.WithCancel(t.Context())
	started, forever := make(chan struct{}), make(chan struct{})
	defer close(forever)
	go func() {
		<-started
		cancel()
	}()
	require.ErrorIs(t, Run(ctx, func() error {
		close(started)
		<-forever
		return nil
	}), context.Canceled)
	require.ErrorIs(t, Run(ctx, func() error { panic("it ran") }), context.Canceled)
}

// TestValue: what is computed is returned, and nothing beside an error.
func TestValue(t *testing.T) {
	got, err := Value(t.Context(), func() (int, error) { return 3, nil })
	require.NoError(t, err)
	require.Equal(t, 3, got)
	failed := errors.New("failed")
	got, err = Value(t.Context(), func() (int, error) { return 3, failed })
	require.ErrorIs(t, err, failed)
	require.Zero(t, got)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	got, err = Value(ended, func() (int, error) { return 3, nil })
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, got)
}
