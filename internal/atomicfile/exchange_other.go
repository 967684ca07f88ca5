//go:build !linux

package atomicfile

import "errors"

// exchange would swap two names in one step.
func exchange(_, _ string) error { return errors.ErrUnsupported }
