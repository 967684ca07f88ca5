//go:build unix

package main

import (
	"syscall"
	"time"
)

// processor is the time in seconds that the process has had of all processors; 0
// where that is not known.
func processor() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}
