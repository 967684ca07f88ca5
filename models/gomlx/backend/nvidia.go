//go:build cgo && !noxla && linux && (amd64 || arm64)

package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// leastDriver is the major version of the oldest driver that runs CUDA 13.
	leastDriver = 580
	// leastMemory is how many MiB must be free on a GPU: the libraries alone take half of it.
	leastMemory = 1024
	// nvidiaLimit is the time that nvidia-smi gets to answer.
	nvidiaLimit = 10 * time.Second
)

// A gpu is what nvidia-smi says of one.
type gpu struct {
	name        string
	total, free int // MiB
}

// nvidia is what can be known of NVIDIA's GPUs without a library of theirs.
type nvidia struct {
	files  []string // device files
	driver string   // version; empty where it is not known
	gpus   []gpu    // empty where nvidia-smi does not answer
}

// seeNvidia looks for GPUs. Where nvidia-smi is silent the device files say that
// there are some.
func seeNvidia(ctx context.Context, p places) nvidia {
	var n nvidia
	n.files, _ = filepath.Glob(p.deviceFiles) // fails for malformed patterns only
	if text, err := os.ReadFile(p.driverFile); err == nil {
		n.driver = driverVersion(string(text))
	}
	ctx, cancel := context.WithTimeout(ctx, nvidiaLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.free",
		"--format=csv,noheader,nounits")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return n
	}
	for line := range strings.Lines(string(out)) {
		n.add(line)
	}
	return n
}

// add takes in a line of nvidia-smi; others are passed over.
func (n *nvidia) add(line string) {
	fields := strings.Split(line, ",")
	if len(fields) != 4 {
		return
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	total, err1 := strconv.Atoi(fields[2])
	free, err2 := strconv.Atoi(fields[3])
	if errors.Join(err1, err2) != nil {
		total, free = 0, 0 // some GPUs share the memory of the processor and do not say
	}
	n.driver = fields[1]
	n.gpus = append(n.gpus, gpu{name: fields[0], total: total, free: free})
}

// driverVersion reads the version in NVIDIA's file of the kernel module.
func driverVersion(text string) string {
	found := regexp.MustCompile(`Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)`).FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return found[1]
}

// check says why CUDA would not run, if that can be told before it is tried.
func (n nvidia) check() error {
	if len(n.files) == 0 && len(n.gpus) == 0 {
		return absentError{errors.New("no NVIDIA GPU is seen")}
	}
	major, _, _ := strings.Cut(n.driver, ".")
	if version, err := strconv.Atoi(major); err == nil && version < leastDriver {
		return fmt.Errorf("the NVIDIA driver %s is too old: CUDA 13 needs %d or later", n.driver, leastDriver)
	}
	var best gpu
	for _, g := range n.gpus {
		if g.total == 0 {
			return nil
		}
		if best.total == 0 || g.free > best.free {
			best = g
		}
	}
	if best.total > 0 && best.free < leastMemory {
		return fmt.Errorf("too little memory is free: %d of %d MiB on the %s, and %d are needed",
			best.free, best.total, best.name, leastMemory)
	}
	return nil
}
