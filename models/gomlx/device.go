package gomlx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gomlx/compute"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx/backend"
)

// A Device runs networks: forward passes, calibration, scoring, training and
// learning. It owns a backend of GoMLX and the graphs that were compiled for it.
//
// A graph is compiled once for every shape of a batch. Parameters are arguments
// of it, so one compilation serves all checkpoints of an architecture and size.
//
// Methods may be called from several goroutines at once.
type Device struct {
	backend compute.Backend
	mesh    *mesh // nil for one device

	using   sync.RWMutex // held for reading while something computes, for writing by Close
	closed  bool
	mu      sync.Mutex // guards what follows
	cache   map[string]*program
	holders map[holder]struct{}
	behind  []*call // that were left to themselves when their context ended
	usage   usage   // of the backend

	reporting sync.Mutex // one report at a time
	observe   func(models.Progress)
}

// holder holds memory on the device between calls.
type holder interface{ release() error }

// StageOpen is the Stage under which [Open] reports; the Item is a line of text,
// the last of them the backend that was taken.
const StageOpen = backend.Stage

// StageCompile is the Stage under which a device reports compilations; the Item
// says of what. A compilation takes seconds and goes on when its context ends.
const StageCompile = "compiling"

// Open returns the best device that there is, see [backend.Open]: XLA on a GPU
// or the CPU, or else pure Go, which is many times slower. $GOMLX_BACKEND asks
// for another.
//
// observe, unless it is nil, is told which backend was taken and what was tried
// before that (Stage [StageOpen]) and, as long as the device is open, of each
// compilation ([StageCompile]). It must not call the device.
func Open(ctx context.Context, observe func(models.Progress)) (*Device, error) {
	return OpenWith(ctx, Settings{Settings: backend.Settings{Observe: observe}})
}

// Settings are what [OpenWith] is told. The zero value observes nothing, allows no
// large download, and computes on one device.
type Settings struct {
	backend.Settings
	Spread Spread // over several devices
}

// OpenWith is [Open] for a caller that is asked before a large download, such as
// that of CUDA, or that has several devices. More of these than there are is an
// [ErrSpread].
func OpenWith(ctx context.Context, settings Settings) (*Device, error) {
	b, err := backend.OpenWith(ctx, settings.Settings)
	if err != nil {
		return nil, fmt.Errorf("gomlx: %w", err)
	}
	d := &Device{backend: b, observe: settings.Observe, cache: map[string]*program{}, holders: map[holder]struct{}{}}
	if d.mesh, err = newMesh(settings.Spread, b); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if n := d.mesh.devices(); n > 1 {
		d.report(models.Progress{Stage: StageOpen, Item: fmt.Sprintf("%d devices share batches", n), Done: 1, Total: 1})
	}
	return d, nil
}

// Name returns the name of the backend, such as "xla".
func (d *Device) Name() string {
	if d == nil || d.backend == nil {
		return ""
	}
	return d.backend.Name()
}

// Description says in words what the backend is: its plugin and how many devices it
// sees.
func (d *Device) Description() string {
	if d == nil || d.backend == nil {
		return ""
	}
	return d.backend.Description()
}

// Close frees all that the device holds, its trainers included, once what
// computes on it is done. What goes on although its context has ended is not waited
// for: it frees the rest. Everything that uses the device after that returns
// [ErrNotOpen]; a second Close has no effect.
func (d *Device) Close() error {
	if d == nil || d.backend == nil {
		return nil
	}
	d.using.Lock()
	defer d.using.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var errs []error
	for h := range d.holders {
		errs = append(errs, h.release())
	}
	d.freePrograms()
	d.reporting.Lock()
	d.observe = nil
	d.reporting.Unlock()
	if d.usage.free() {
		errs = append(errs, d.finalize())
	}
	return errors.Join(errs...)
}

// finalize frees the backend, once nothing computes on it.
func (d *Device) finalize() error {
	return recovered("closing the device", func() error { d.backend.Finalize(); return nil })
}

// FreePrograms frees the memory of compiled graphs, those of learned matchings
// included, which are kept for the next one. They are compiled anew when
// they are needed.
func (d *Device) FreePrograms() error {
	if d == nil || d.backend == nil {
		return ErrNotOpen
	}
	d.using.Lock()
	defer d.using.Unlock()
	if d.closed {
		return ErrNotOpen
	}
	d.freePrograms()
	return nil
}

// freePrograms needs d.using for writing.
func (d *Device) freePrograms() {
	for _, p := range d.cache {
		p.free()
	}
	d.cache = map[string]*program{}
}

// acquire keeps the device open until done is called. Every exported method that
// computes calls it once: a second time, with a Close in between that waits,
// would wait forever.
func (d *Device) acquire() (done func(), err error) {
	if d == nil || d.backend == nil {
		return nil, ErrNotOpen
	}
	d.using.RLock()
	if d.closed {
		d.using.RUnlock()
		return nil, ErrNotOpen
	}
	return d.using.RUnlock, nil
}

// check returns ErrNotOpen where the device is not open.
func (d *Device) check() error {
	done, err := d.acquire()
	if err == nil {
		done()
	}
	return err
}

// hold has Close release h.
func (d *Device) hold(h holder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holders[h] = struct{}{}
}

// drop undoes hold.
func (d *Device) drop(h holder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.holders, h)
}

// abandon has later calls wait for one that was left to itself.
func (d *Device) abandon(c *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.behind = append(d.behind, c)
}

// settle waits for the calls that were left to themselves, or for the end of the context.
func (d *Device) settle(ctx context.Context) error {
	d.mu.Lock()
	behind := slices.Clone(d.behind)
	d.mu.Unlock()
	for _, c := range behind {
		select {
		case <-c.ended:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil || len(behind) == 0 {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.behind = slices.DeleteFunc(d.behind, func(c *call) bool { return slices.Contains(behind, c) })
	return nil
}

// report tells the observer, as long as the device is open.
func (d *Device) report(p models.Progress) {
	d.reporting.Lock()
	defer d.reporting.Unlock()
	if d.observe != nil {
		d.observe(p)
	}
}
