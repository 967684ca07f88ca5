package main

import (
	"os"
	"syscall"
)

// peak is the most resident memory that a process held, in MiB.
func peak(p *os.ProcessState) *float64 {
	u, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return nil
	}
	mib := float64(u.Maxrss) / 1024 // kilobytes on Linux
	return &mib
}
