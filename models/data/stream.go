package data

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/otfuse/otfuse/models"
)

// A stream decodes the images of a folder or a .zip when they are asked for. It
// keeps none of them, so that a set may be larger than memory.
type stream struct {
	archive archive
	file    func(name string) (file, error)
	norm    Norm                // of images spread over the training set
	room    *semaphore.Weighted // for images that are decoded at the same time
	broken  *brokenNames
}

// brokenNames counts the images that turned out to be broken.
type brokenNames struct {
	limit   int // how many are tolerated
	observe func(models.Progress)
	mu      sync.Mutex
	names   map[string]bool
}

// add counts a broken image. One too many is an error.
func (b *brokenNames) add(name string, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.names[name] {
		return nil
	}
	if len(b.names) == b.limit {
		return beyond(b.limit, err)
	}
	b.names[name] = true
	b.observe(leftOut(len(b.names), err))
	return nil
}

// errNotByName says why a .tar.gz cannot be decoded on demand.
var errNotByName = errors.New(
	"a .tar.gz can be read from its beginning only: unpack it, then images are decoded on demand")

// streamSets makes sets that have file names decode on demand.
func (a archive) streamSets(ctx context.Context, train, test *Set, o Options) error {
	if a.byName == nil {
		return a.fileError("", -1, fmt.Errorf("%d images of %d×%d pixels take %.1f GiB, more than may be held; %w",
			train.Len()+test.Len(), train.W, train.H, float64(train.bytes()+test.bytes())/(1<<30), errNotByName))
	}
	open, err := a.byName(a.path)
	if err != nil {
		return a.fileError("", -1, err)
	}
	from := &stream{archive: a, file: open, room: newRoom(), broken: &brokenNames{
		limit: o.brokenLimit(train.Len() + test.Len()), observe: o.observe, names: map[string]bool{},
	}}
	train.Pixels, train.stream = nil, from
	test.Pixels, test.stream = nil, from
	from.norm, err = train.sampledNorm(ctx, o.Observe)
	return err
}

// The images that the norm of a streamed set is measured on, and how many of
// them are held at a time.
const (
	normSample = 1024
	normBatch  = 64
)

// sampledNorm measures the norm on images evenly spaced over the set.
func (s *Set) sampledNorm(ctx context.Context, observe func(models.Progress)) (Norm, error) {
	n := min(s.Len(), normSample)
	var sums moments
	for from := 0; from < n; from += normBatch {
		if err := ctx.Err(); err != nil {
			return Norm{}, err
		}
		var idx []int
		for k := from; k < min(from+normBatch, n); k++ {
			idx = append(idx, k*s.Len()/n)
		}
		images, err := s.pixelsOf(idx)
		if err != nil {
			return Norm{}, err
		}
		for _, pix := range images {
			sums.addImage(pix, s.C)
		}
		if observe != nil {
			observe(models.Progress{Stage: "measuring", Item: "colours", Done: from + len(idx), Total: n})
		}
	}
	return sums.norm(), nil
}

// pixelsOf returns the pixels [C, H, W] of the images idx. Those of a streamed
// set are decoded on all cores, and of several errors the first in idx is
// returned: nothing depends on the number of cores.
func (s *Set) pixelsOf(idx []int) ([][]byte, error) {
	out := make([][]byte, len(idx))
	if s.stream == nil {
		d := s.imageLen()
		for k, i := range idx {
			out[k] = s.Pixels[i*d : (i+1)*d]
		}
		return out, nil
	}
	errs := make([]error, len(idx))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(idx)) {
		workers.Go(func() {
			for k := int(next.Add(1)) - 1; k < len(idx); k = int(next.Add(1)) - 1 {
				out[k], errs[k] = s.stream.decodeFile(s.names[idx[k]], Size{s.H, s.W})
			}
		})
	}
	workers.Wait()
	for k, err := range errs {
		if err != nil {
			if out[k], err = s.substitute(idx[k], err); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// substitute returns the pixels of the image that takes the place of image i, which
// cannot be decoded: the next one of its class that can. An image that cannot be
// read at all has no substitute.
func (s *Set) substitute(i int, err error) ([]byte, error) {
	for j := i; ; {
		if !errors.As(err, new(*decodeError)) {
			return nil, err
		}
		if err := s.stream.broken.add(s.names[j], err); err != nil {
			return nil, err
		}
		for j = (j + 1) % s.Len(); s.Labels[j] != s.Labels[i]; {
			j = (j + 1) % s.Len()
		}
		if j == i {
			return nil, fmt.Errorf("data: no image of class %q can be decoded, such as %w", s.Classes[s.Labels[i]], err)
		}
		var pixels []byte
		if pixels, err = s.stream.decodeFile(s.names[j], Size{s.H, s.W}); err == nil {
			return pixels, nil
		}
	}
}

// decodeError says that an image could be read and is broken.
type decodeError struct{ error }

// Unwrap returns the cause.
func (e *decodeError) Unwrap() error { return e.error }

// decodeFile reads, decodes and scales one image.
func (s *stream) decodeFile(name string, size Size) ([]byte, error) {
	f, err := s.file(name)
	if err != nil {
		return nil, s.archive.fileError(name, -1, err)
	}
	raw, err := s.archive.bytes(f, maxImage)
	if err != nil {
		return nil, err
	}
	need := roomFor(raw)
	if err := s.room.Acquire(context.Background(), need); err != nil {
		return nil, err
	}
	defer s.room.Release(need)
	img, err := decodeImage(raw)
	if err != nil {
		return nil, s.archive.fileError(name, -1, &decodeError{err})
	}
	return img.scaledTo(size).pix, nil
}
