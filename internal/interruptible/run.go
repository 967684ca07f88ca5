// Package interruptible returns at the end of a context from what looks at none.
package interruptible

import (
	"context"
	"fmt"
)

// Run runs a computation that looks at no context, such as those of gonum, and returns as
// soon as the context ends. What is still computed then is dropped, so the computation may
// change only what nobody looks at after an error. Its panics are errors.
func Run(ctx context.Context, compute func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
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

// Value is [Run] for a computation that returns something, which is the zero value where
// there is an error.
func Value[T any](ctx context.Context, compute func() (T, error)) (T, error) {
	var value, none T
	err := Run(ctx, func() (err error) {
		value, err = compute()
		return err
	})
	if err != nil {
		return none, err
	}
	return value, nil
}
