// Package meter measures what work takes: seconds, processor time, memory, and
// the stages of a fusion.
package meter

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Usage is what a piece of work took.
type Usage struct {
	Seconds float64  `json:"seconds"`
	CPU     *float64 `json:"cpu_seconds,omitempty"` // of all processors together
	PeakMiB *float64 `json:"peak_mib,omitempty"`    // of resident memory, absent where the system does not tell
	HeldMiB *float64 `json:"held_mib,omitempty"`    // at the start
}

// A Meter tells what the process took since it was started. Resident memory and
// processor time are those of proc(5), and absent where there is none.
type Meter struct {
	started time.Time
	cpu     *float64
	held    *float64
}

// Settle gives memory back that nobody holds any more, so that what others left
// is not counted: finalizers free what is outside of Go's heap, and run between
// two collections.
func Settle() {
	for range 2 {
		debug.FreeOSMemory()
		time.Sleep(10 * time.Millisecond)
	}
}

// Start starts a meter. Where the system cannot forget an older peak of the
// memory, that one counts too.
func Start() Meter {
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // resets VmHWM
	return Meter{time.Now(), processorTime(), Held()}
}

// Read returns what was taken so far.
func (m Meter) Read() Usage {
	u := Usage{Seconds: time.Since(m.started).Seconds(), PeakMiB: Peak("self"), HeldMiB: m.held}
	if now := processorTime(); now != nil && m.cpu != nil {
		spent := *now - *m.cpu
		u.CPU = &spent
	}
	return u
}

// clockTicks is the number of clock clockTicks a second in /proc/self/stat.
const clockTicks = 100

// processorTime returns the seconds of user and system time so far.
func processorTime() *float64 {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold spaces
	f := strings.Fields(rest)
	if len(f) < 13 {
		return nil
	}
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		return nil
	}
	system, err := strconv.ParseFloat(f[12], 64)
	if err != nil {
		return nil
	}
	seconds := (user + system) / clockTicks
	return &seconds
}

// Peak returns the largest resident memory in MiB that a process has held, nil
// where the system does not tell: by its number, or "self".
func Peak(process string) *float64 { return resident(process, "VmHWM:") }

// Held returns the resident memory of this process in MiB, nil where the system
// does not tell.
func Held() *float64 { return resident("self", "VmRSS:") }

func resident(process, line string) *float64 {
	text, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return nil
	}
	for l := range strings.Lines(string(text)) {
		f := strings.Fields(l)
		if len(f) < 2 || f[0] != line {
			continue
		}
		if kib, err := strconv.ParseFloat(f[1], 64); err == nil {
			mib := kib / 1024
			return &mib
		}
	}
	return nil
}
