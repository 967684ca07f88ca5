//go:build !cgo || noxla || !linux || !(amd64 || arm64)

package backend

import (
	"context"

	"github.com/gomlx/compute"
)

// disableAutoInstall has nothing to switch off where go-xla is left out.
func disableAutoInstall() {}

// plugins says that there are none.
func (s *search) plugins(context.Context, request) []candidate {
	return []candidate{{name: "XLA", open: func(context.Context) (compute.Backend, error) {
		return nil, ErrUnknown
	}}}
}
