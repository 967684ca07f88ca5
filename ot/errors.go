package ot

import (
	"context"
	"errors"
	"fmt"
)

// The reasons why input is invalid, for use with [errors.Is].
var (
	ErrShape      = errors.New("shapes do not fit")
	ErrNotFinite  = errors.New("not a finite number")
	ErrNegative   = errors.New("negative")
	ErrEmpty      = errors.New("no mass")
	ErrUnbalanced = errors.New("total masses differ")
	ErrOption     = errors.New("option out of range")
)

// InvalidError reports the first entry of the input that is invalid.
//
// It wraps one of the sentinels [ErrShape], [ErrNotFinite], [ErrNegative],
// [ErrEmpty], [ErrUnbalanced], [ErrOption].
type InvalidError struct {
	Field    string  // "Cost", "A", "B", "Reg", …
	Row, Col int     // position of the entry; -1 where the whole field or vector is meant
	Value    float64 // of the entry, if one is named
	Detail   string  // further explanation, may be empty
	Err      error   // one of the sentinels
}

// Error implements the error interface.
func (e *InvalidError) Error() string {
	at := e.Field
	switch {
	case e.Row >= 0 && e.Col >= 0:
		at = fmt.Sprintf("%s[%d,%d] = %g", e.Field, e.Row, e.Col, e.Value)
	case e.Row >= 0:
		at = fmt.Sprintf("%s[%d] = %g", e.Field, e.Row, e.Value)
	}
	if e.Detail != "" {
		return fmt.Sprintf("ot: %s: %v: %s", at, e.Err, e.Detail)
	}
	return fmt.Sprintf("ot: %s: %v", at, e.Err)
}

// Unwrap returns the sentinel.
func (e *InvalidError) Unwrap() error { return e.Err }

// NotConvergedError is an error that comes with the best plan reached: an iteration
// stopped before it met its tolerance.
type NotConvergedError struct {
	Iterations int // that were made

	// Residual is what the tolerance of the solver bounds: for [Sinkhorn] the
	// marginal error of the plan, L1, relative to the total mass; for [EMD] and
	// [Partial] the part of the cost that a better plan could save.
	Residual float64
}

// Error implements the error interface.
func (e *NotConvergedError) Error() string {
	return fmt.Sprintf("ot: not converged after %d iterations: residual %.2g", e.Iterations, e.Residual)
}

// contextError returns the error of ctx, or an [*InvalidError] if ctx is nil.
func contextError(ctx context.Context) error {
	if ctx == nil {
		return invalid("ctx", ErrOption, "nil")
	}
	return ctx.Err()
}

// invalid builds an error about a whole field.
func invalid(field string, err error, format string, args ...any) *InvalidError {
	return &InvalidError{Field: field, Row: -1, Col: -1, Err: err, Detail: fmt.Sprintf(format, args...)}
}

// badEntry builds an error about one entry; col is -1 for vectors.
func badEntry(field string, row, col int, v float64, err error) *InvalidError {
	return &InvalidError{Field: field, Row: row, Col: col, Value: v, Err: err}
}
