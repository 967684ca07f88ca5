package fuse

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUnlessEnded: a computation that never looks at its context is left when that ends.
func TestUnlessEnded(t *testing.T) {
	cause := errors.New("cause")
	require.NoError(t, unlessEnded(t.Context(), func() error { return nil }))
	require.ErrorIs(t, unlessEnded(t.Context(), func() error { return cause }), cause)
	require.ErrorContains(t, unlessEnded(t.Context(), func() error { panic("mat: zero length") }), "mat: zero length")

	ctx, cancel := context.WithCancel(t.Context())
	started, forever := make(chan struct{}), make(chan struct{})
	defer close(forever)
	go func() {
		<-started
		cancel()
	}()
	require.ErrorIs(t, unlessEnded(ctx, func() error {
		close(started)
		<-forever
		return nil
	}), context.Canceled)
}
