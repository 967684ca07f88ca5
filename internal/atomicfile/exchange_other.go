//go:build !linux

package atomicfile

import "errors"

// exchange cannot swap two names in one step on this system.
func exchange(_, _ string) error { return errors.ErrUnsupported }
