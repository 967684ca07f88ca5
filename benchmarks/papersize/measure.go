package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/ot"
)

// libraryBatch is the number of calibration images at a time that package gomlx
// takes where it is not told.
const libraryBatch = 50

// bench holds what all phases share.
type bench struct {
	o           options
	device      *gomlx.Device
	anchor, src *models.Model
	images      models.Batch  // 8 times as many as are calibrated on
	want        align.Request // what the paper's recipe asks a calibration for
	results     results
}

// measure runs all phases.
func measure(ctx context.Context, o options) (*results, error) {
	device, err := cli.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer device.Close()
	b := &bench{o: o, device: device, images: images(8*o.images, 3)}
	if b.anchor, err = network(o, 1); err == nil {
		b.src, err = network(o, 2)
	}
	if err != nil {
		return nil, err
	}
	b.results = results{Backend: device.Name(), Processors: runtime.GOMAXPROCS(0), Parameters: b.anchor.Size(),
		Images: o.images}
	if b.want, err = requestOf(ctx, b.src, b.anchor); err != nil {
		return nil, err
	}
	b.add(row{"at rest: both models and all images in memory", meter.Usage{PeakMiB: meter.Start().Read().PeakMiB}})
	for _, phase := range []func(context.Context) error{b.compile, b.sinkhorn, b.emd, b.weights, b.memory} {
		if err := phase(ctx); err != nil {
			return nil, err
		}
	}
	return &b.results, nil
}

// add keeps a row and tells of it.
func (b *bench) add(r row) {
	b.results.Rows = append(b.results.Rows, r)
	cli.Notice("%s: %.2f s", r.Phase, r.Seconds)
}

// timed measures f as one row, after the garbage of what came before is gone.
func timed(phase string, f func() error) (row, error) {
	runtime.GC()
	m := meter.Start()
	err := f()
	return row{phase, m.Read()}, err
}

// network draws a vision transformer from a seed.
func network(o options, seed uint64) (*models.Model, error) {
	c := models.ViTConfig{
		Hidden: o.dim, Layers: o.layers, Heads: o.heads, MLP: o.mlp, Act: graph.GELU, Eps: 1e-12,
		Image: 32, Patch: 4, Channels: 3, Labels: map[string]string{}}
	for i := range 10 {
		c.Labels[fmt.Sprint(i)] = fmt.Sprintf("LABEL_%d", i)
	}
	return models.Fresh(models.ViT(), c, seed, 0.02)
}

// images draws n images of normal noise from a seed.
func images(n int, seed uint64) models.Batch {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := models.Array{Shape: []int{n, 3, 32, 32}, Floats: make([]float32, n*3*32*32)}
	for i := range x.Floats {
		x.Floats[i] = float32(rng.NormFloat64())
	}
	return models.Batch{"pixel_values": x}
}

// errRecorded stops a fusion once it has said what it wants.
var errRecorded = errors.New("recorded")

// recordingCalibration is a calibration that only notes what is wanted of it.
type recordingCalibration struct{ want *align.Request }

func (r recordingCalibration) Collect(_ context.Context, _, _ *models.Model,
	want align.Request) (*align.Statistics, error) {
	*r.want = want
	return nil, errRecorded
}

// requestOf returns what the paper's recipe asks a calibration for.
func requestOf(ctx context.Context, src, anchor *models.Model) (w align.Request, err error) {
	_, _, err = fuse.Align(ctx, anchor, []*models.Model{src}, fuse.Transport{},
		&fuse.Settings{Calibration: recordingCalibration{&w}})
	if !errors.Is(err, errRecorded) {
		return w, fmt.Errorf("papersize: the fusion asked for no calibration: %w", err)
	}
	return w, nil
}

// calibration is that of the paper on the first n images.
func (b *bench) calibration(n int) *gomlx.Calibration {
	c := b.device.Calibration(b.images.Slice(0, n), align.Window{Size: 6})
	c.Narrow, c.Batch = true, b.o.batch
	return c
}

// compile is what the first batch takes more than the second.
func (b *bench) compile(ctx context.Context) error {
	size := b.o.batch
	if size == 0 {
		size = libraryBatch
	}
	c := b.calibration(min(size, b.o.images))
	collect := func() error { _, err := c.Collect(ctx, b.src, b.anchor, b.want); return err }
	first, err := timed("compilation: the first batch less a second one", collect)
	if err != nil {
		return err
	}
	second, err := timed("", collect)
	if err != nil {
		return err
	}
	first.Seconds -= second.Seconds
	if first.CPU != nil && second.CPU != nil {
		*first.CPU -= *second.CPU
	}
	b.add(first)
	return nil
}

func (b *bench) sinkhorn(ctx context.Context) error {
	return b.fuse(ctx, "activations, Sinkhorn 0.08", fuse.OnActivations())
}

func (b *bench) emd(ctx context.Context) error {
	u := fuse.OnActivations().(align.Units)
	u.Solver = ot.EMD{}
	return b.fuse(ctx, "activations, EMD", u)
}

func (b *bench) weights(ctx context.Context) error {
	return b.fuse(ctx, "weights, Sinkhorn 0.06", fuse.OnWeights())
}

// fuse measures a whole fusion and its parts.
func (b *bench) fuse(ctx context.Context, name string, a align.Aligner) error {
	var spent meter.Stages
	method, set := spent.Watch(fuse.Transport{Aligner: a}, fuse.Settings{Calibration: b.calibration(b.o.images)})
	all, err := timed(name+": all of the following", func() error {
		_, _, err := fuse.Into(ctx, b.anchor, []*models.Model{b.src}, method, set)
		return err
	})
	if err != nil {
		return err
	}
	b.add(all)
	total := time.Duration(all.Seconds * float64(time.Second))
	for _, part := range []struct {
		phase string
		took  time.Duration
	}{
		{"calibration", spent.Collect},
		{"features and costs", spent.Align - spent.Solve},
		{"plans", spent.Solve},
		{"parameters", total - spent.Collect - spent.Align},
	} {
		if part.took > 0 {
			b.add(row{"- " + part.phase, meter.Usage{Seconds: part.took.Seconds()}})
		}
	}
	return nil
}

// memory calibrates on more and more images.
func (b *bench) memory(ctx context.Context) error {
	for _, times := range []int{1, 4, 8} {
		n := times * b.o.images
		r, err := timed(fmt.Sprintf("calibration on %d images", n), func() error {
			_, err := b.calibration(n).Collect(ctx, b.src, b.anchor, b.want)
			return err
		})
		if err != nil {
			return err
		}
		b.add(r)
	}
	return nil
}
