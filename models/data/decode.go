package data

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/otfuse/otfuse/models"
)

// slot is the place of one image in a set.
type slot struct {
	set   *Set
	index int
}

// job is one image on its way from the archive to its slot.
type job struct {
	seq  int
	name string
	raw  []byte
	slot slot
}

// decodeAll decodes the named images of an archive into their slots. One goroutine
// reads and one on each core decodes. Every image has its own place, and of
// several errors the first in the order of storage is returned, so the result
// does not depend on the number of cores.
func (a archive) decodeAll(ctx context.Context, slots map[string]slot, observe func(models.Progress)) error {
	d := decoder{archive: a, first: -1}
	jobs := make(chan job, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				d.decodeJob(j)
			}
		})
	}
	seq, total := 0, len(slots)
	slots = maps.Clone(slots)
	err := a.visitFiles(ctx, func(f file) error {
		s, ok := slots[f.name]
		if !ok {
			return nil
		}
		delete(slots, f.name)
		if err := d.firstError(); err != nil {
			return err
		}
		raw, err := a.bytes(f, maxImage)
		if err != nil {
			return err
		}
		jobs <- job{seq, f.name, raw, s}
		seq++
		if observe != nil && (seq%1000 == 0 || seq == total) {
			observe(models.Progress{Stage: "decoding", Item: "images", Done: seq, Total: total})
		}
		return nil
	})
	close(jobs)
	workers.Wait()
	if failed := d.firstError(); failed != nil {
		return failed
	}
	if err == nil && len(slots) > 0 {
		missing := slices.Min(slices.Collect(maps.Keys(slots)))
		return a.fileError(missing, -1, fmt.Errorf("the image is missing, as are %d others of %d", len(slots)-1, total))
	}
	return err
}

// decoder collects the errors of the workers.
type decoder struct {
	archive archive
	mu      sync.Mutex
	first   int // sequence number of err
	err     error
}

// decodeJob decodes one image into its slot. It keeps the error of the first image
// that cannot be decoded.
func (d *decoder) decodeJob(j job) {
	img, err := decodeImage(j.raw)
	if err == nil {
		img.storeIn(j.slot)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil || j.seq < d.first {
		d.first, d.err = j.seq, d.archive.fileError(j.name, -1, err)
	}
}

// firstError returns the error of the first broken image so far.
func (d *decoder) firstError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// storeIn writes the image into its slot, scaled to the size of the set.
func (m rgb) storeIn(s slot) {
	d := s.set.imageLen()
	copy(s.set.Pixels[s.index*d:(s.index+1)*d], m.scaledTo(Size{s.set.H, s.set.W}).pix)
}

// scaledTo returns the image at a size, itself where it has that size.
func (m rgb) scaledTo(s Size) rgb {
	if m.h == s.H && m.w == s.W {
		return m
	}
	return m.resize(s.H, s.W)
}
