// Package memory tells how much memory there is for a program.
package memory

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// Free returns the bytes that this process may still take before the system swaps or
// kills it: the least of what is available on the machine, what the control groups of the
// process leave and what GOMEMLIMIT allows. It reports whether the system tells at all.
func Free() (bytes int64, ok bool) {
	return free("/", debug.SetMemoryLimit(-1))
}

// free is Free with the root of the file systems proc and sys, and Go's memory limit.
func free(root string, limit int64) (int64, bool) {
	available, ok := field(filepath.Join(root, "proc/meminfo"), "MemAvailable:")
	if !ok {
		return 0, false
	}
	available *= 1024
	for _, dir := range groups(root) {
		if left, ok := leftIn(dir); ok {
			available = min(available, left)
		}
	}
	if limit < math.MaxInt64 {
		used, _ := field(filepath.Join(root, "proc/self/status"), "VmRSS:")
		available = min(available, limit-1024*used)
	}
	return max(available, 0), true
}

// groups lists the directories of the control groups that hold this process.
func groups(root string) []string {
	text, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		base := filepath.Join(root, "sys/fs/cgroup")
		if strings.Contains(","+parts[1]+",", ",memory,") {
			base = filepath.Join(base, "memory")
		} else if parts[1] != "" {
			continue
		}
		for at := filepath.Clean("/" + parts[2]); ; at = filepath.Dir(at) {
			out = append(out, filepath.Join(base, at))
			if at == "/" {
				break
			}
		}
	}
	return out
}

// leftIn returns what a control group leaves: its limit less what is used. Pages of files
// that nobody needs are counted as used, but for inactive ones.
func leftIn(dir string) (int64, bool) {
	for _, names := range [][3]string{
		{"memory.max", "memory.current", "inactive_file"},
		{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
	} {
		limit, ok := number(filepath.Join(dir, names[0]))
		used, known := number(filepath.Join(dir, names[1]))
		if ok && known {
			cached, _ := field(filepath.Join(dir, "memory.stat"), names[2])
			return limit - used + cached, true
		}
	}
	return 0, false
}

// number reads a file that holds one number.
func number(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field reads the number that follows a name at the start of a line.
func field(path, name string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
