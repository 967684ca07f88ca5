package data

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

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
	need int64 // bytes of memory
}

// maxDecoding is the memory in bytes that images may take together while they are
// decoded, however many cores there are. It is more than any of them may take.
const maxDecoding = 384 << 20

// newRoom returns the room for images that are decoded at the same time.
func newRoom() *semaphore.Weighted { return semaphore.NewWeighted(maxDecoding) }

// roomFor returns the room that an image needs: no more than there is.
func roomFor(raw []byte) int64 { return min(decodeMemory(raw), maxDecoding) }

// brokenImage is an image that cannot be decoded.
type brokenImage struct {
	seq  int
	slot slot
	err  error // a [FileError]
}

// decodeAll decodes the named images of an archive into their slots, and returns
// those that cannot be decoded in the order of storage. More than limit of them are
// an error. One goroutine reads and one on each core decodes. Every image has its
// own place, and of several errors the first in the order of storage is returned,
// so the result does not depend on the number of cores.
func (a archive) decodeAll(ctx context.Context, slots map[string]slot, limit int,
	observe func(models.Progress)) ([]brokenImage, error) {
	d, room := decoder{archive: a, limit: limit}, newRoom()
	jobs := make(chan job, 64)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				d.decodeJob(j)
				room.Release(j.need)
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
		if err := d.tooMany(); err != nil {
			return err
		}
		raw, err := a.bytes(f, maxImage)
		if err != nil {
			return err
		}
		need := roomFor(raw)
		if err := room.Acquire(ctx, need); err != nil {
			return err
		}
		jobs <- job{seq, f.name, raw, s, need}
		seq++
		if observe != nil && (seq%1000 == 0 || seq == total) {
			observe(models.Progress{Stage: "decoding", Item: "images", Done: seq, Total: total})
		}
		return nil
	})
	close(jobs)
	workers.Wait()
	if failed := d.tooMany(); failed != nil {
		return nil, failed
	}
	if err == nil && len(slots) > 0 {
		missing := slices.Min(slices.Collect(maps.Keys(slots)))
		err = a.fileError(missing, -1, fmt.Errorf("the image is missing, as are %d others of %d", len(slots)-1, total))
	}
	return d.broken, err
}

// decoder collects the errors of the workers.
type decoder struct {
	archive archive
	limit   int // broken images that are tolerated
	mu      sync.Mutex
	broken  []brokenImage // in the order of storage
}

// decodeJob decodes one image into its slot.
func (d *decoder) decodeJob(j job) {
	img, err := decodeImage(j.raw)
	if err == nil {
		img.storeIn(j.slot)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = append(d.broken, brokenImage{j.seq, j.slot, d.archive.fileError(j.name, -1, err)})
	slices.SortFunc(d.broken, func(a, b brokenImage) int { return cmp.Compare(a.seq, b.seq) })
}

// tooMany returns the error of the first broken image so far, where there are more
// than are tolerated.
func (d *decoder) tooMany() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.broken) <= d.limit {
		return nil
	}
	return beyond(d.limit, d.broken[0].err)
}

// beyond is the error about more broken images than are tolerated.
func beyond(limit int, first error) error {
	if limit == 0 {
		return first
	}
	return fmt.Errorf("%w; more than %d images cannot be decoded", first, limit)
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
