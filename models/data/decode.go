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

// slot is the place of one image.
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

// decodeAll reads the named images of a tree into their slots, one goroutine
// reading and one decoding per core. Every image has its own place, and of
// several errors the first in the order of storage is returned: the result
// does not depend on the number of cores.
func (t tree) decodeAll(ctx context.Context, slots map[string]slot, observe func(models.Progress)) error {
	d := decoder{tree: t, first: -1}
	jobs := make(chan job, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				d.one(j)
			}
		})
	}
	seq, total := 0, len(slots)
	slots = maps.Clone(slots)
	err := t.each(ctx, func(f file) error {
		s, ok := slots[f.name]
		if !ok {
			return nil
		}
		delete(slots, f.name)
		if err := d.failed(); err != nil {
			return err
		}
		raw, err := t.bytes(f, maxImage)
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
	if failed := d.failed(); failed != nil {
		return failed
	}
	if err == nil && len(slots) > 0 {
		missing := slices.Min(slices.Collect(maps.Keys(slots)))
		return t.fail(missing, -1, fmt.Errorf("the image is missing, as are %d others of %d", len(slots)-1, total))
	}
	return err
}

// decoder collects the errors of the workers.
type decoder struct {
	tree  tree
	mu    sync.Mutex
	first int // sequence number of err
	err   error
}

func (d *decoder) one(j job) {
	img, err := decode(j.raw)
	if err == nil {
		img.fit(j.slot)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil || j.seq < d.first {
		d.first, d.err = j.seq, d.tree.fail(j.name, -1, err)
	}
}

func (d *decoder) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// fit writes the image into its slot, resized where its size is another.
func (m rgb) fit(s slot) {
	d := s.set.dim()
	copy(s.set.Pixels[s.index*d:(s.index+1)*d], m.sized(Size{s.set.H, s.set.W}).pix)
}

// sized is the image at a size.
func (m rgb) sized(s Size) rgb {
	if m.h == s.H && m.w == s.W {
		return m
	}
	return m.resize(s.H, s.W)
}
