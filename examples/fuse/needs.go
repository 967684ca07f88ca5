package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/memory"
	"github.com/otfuse/otfuse/internal/recipe"
	"github.com/otfuse/otfuse/models/gomlx"
)

// checkNeeds refuses a run for which there is not enough memory. A dry run says what it takes.
func (j *job) checkNeeds() error {
	n, err := j.needs()
	if err != nil {
		return err
	}
	if j.dryRun {
		return tellNeeds(os.Stdout, n)
	}
	if free, ok := memory.Free(); ok && j.part.Parts == 0 {
		return checkMemory(n, free)
	}
	return nil
}

// needs says what the run takes, from shapes alone.
func (j *job) needs() (fuse.Needs, error) {
	var device gomlx.Device // nothing is run on it
	by := recipe.Trainers{Learner: device.Learner(nil), Distiller: device.Distiller(nil)}
	method, set, err := j.recipe.Build(by, &device)
	if err != nil {
		return fuse.Needs{}, err
	}
	if j.calib != nil && j.recipe.UsesSamples() {
		set.Calibration = device.Calibration(j.calib, nil)
	}
	if j.moments > 0 {
		set.MomentBytes = bytesOf(j.moments)
	}
	if !j.controls {
		set.Directory = &fuse.Directory{Path: j.out}
	}
	n, err := fuse.Estimate(j.models[0], j.models[1:], method, set)
	if err != nil {
		return n, err
	}
	if j.eval != nil { // the ensemble is scored
		var all int64
		for _, m := range j.models {
			all += 4 * int64(m.Size())
		}
		n.Models = max(n.Models, all)
	}
	return n, nil
}

// checkMemory reports a run for which there is not enough memory, by what takes most of it.
func checkMemory(n fuse.Needs, free int64) error {
	if n.Memory() <= free {
		return nil
	}
	var most part
	for _, p := range memoryParts(n) {
		if p.bytes > most.bytes {
			most = p
		}
	}
	return fmt.Errorf("fuse: the run takes at least %s of memory, %s of it %s, and %s are free; "+
		"-dry-run says what for", size(n.Memory()), size(most.bytes), most.name, size(free))
}

// A part is what a part of the memory is taken by.
type part struct {
	name  string
	bytes int64
}

func memoryParts(n fuse.Needs) []part {
	moments := "moments of activations"
	if n.Passes > 1 {
		moments += fmt.Sprintf(" (of %s, in %d passes over the samples)", size(n.AllMoments), n.Passes)
	}
	site := "the largest site"
	if n.SiteName != "" {
		site += ", " + n.SiteName
	}
	return []part{{"models in memory", n.Models}, {"tensors on their way", n.Tensors}, {moments, n.Moments},
		{"maps in use", n.Maps}, {site, n.Site}}
}

// tellNeeds prints what the run takes.
func tellNeeds(w io.Writer, n fuse.Needs) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(bytes int64, what string) { fmt.Fprintf(t, "%s\t  %s\n", size(bytes), what) }
	for _, p := range memoryParts(n) {
		row(p.bytes, p.name)
	}
	row(n.Memory(), "memory in all, at least")
	if free, ok := memory.Free(); ok {
		row(free, "are free")
	}
	row(n.Result, "the result on disk")
	return t.Flush()
}

// size is a number of bytes for people, in GB or, where that is below a tenth, in MB.
func size(bytes int64) string {
	if bytes < gigabyte/10 {
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(bytes)/gigabyte)
}
