//go:build !cgo || noxla || !linux || !(amd64 || arm64)

package backend

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
)

// disableAutoInstall has nothing to switch off where go-xla is left out.
func disableAutoInstall() {}

// openXLA says that there is none.
func openXLA(context.Context, string, observer) (compute.Backend, error) {
	return nil, fmt.Errorf("XLA: %w", ErrUnknown)
}
