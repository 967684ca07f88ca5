//go:build unix

package main

import (
	"syscall"
	"time"
)

// processor is the time in seconds that the process has used of all processors, 0
// where that is not known. The meter's clock of hundredths of a second is too coarse
// for runs of milliseconds.
func processor() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}
