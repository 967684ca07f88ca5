//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	zipfile "archive/zip"
	"context"
	"io"
)

// A cpuWheel is a wheel whose one native file is an XLA plugin for the CPU.
type cpuWheel struct {
	pinnedWheel
	member string // path of the plugin in the wheel
	plugin string // SHA-256 sum of the plugin
}

// pinnedCPUWheel is the wheel with the plugin for the CPU. There is one for amd64 only.
func pinnedCPUWheel() cpuWheel {
	return cpuWheel{
		pinnedWheel: pinnedWheel{
			requirement: "lammps-jax-pjrt-cpu==0.11.2",
			sha256:      "1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1",
			bytes:       62_700_000,
		},
		member: "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so",
		plugin: "ad1309ac822b1b24d51b7f9947c7c9fa9ef5d67f390584cbc3d1fa2428fed9c2",
	}
}

func (w cpuWheel) source(o observer) source {
	return source{
		name:   "wheel-" + w.sha256[:12],
		sha256: w.plugin,
		bytes:  w.bytes,
		write: func(ctx context.Context, to io.Writer, scratch string) error {
			o.notice("fetching the XLA plugin for the CPU with pip, wheel %s", w.requirement)
			path, err := w.download(ctx, scratch)
			if err != nil {
				return err
			}
			archive, err := zipfile.OpenReader(path)
			if err != nil {
				return err
			}
			defer archive.Close()
			member, err := archive.Open(w.member)
			if err != nil {
				return err
			}
			defer member.Close()
			return copyPlugin(to, member)
		},
	}
}
