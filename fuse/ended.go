package fuse

import (
	"context"
	"fmt"
)

// unlessEnded runs a computation of gonum, which looks at no context, and returns as soon
// as the context ends. What is still computed then is dropped, so the computation may
// change only what nobody looks at after an error. Its panics are errors.
func unlessEnded(ctx context.Context, compute func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				done <- fmt.Errorf("panicked: %v", v)
			}
		}()
		done <- compute()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
