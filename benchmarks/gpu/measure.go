package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/cli"
	"github.com/otfuse/otfuse/internal/meter"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/ot"
)

// backendVariable asks for a backend, with options.
const backendVariable = "GOMLX_BACKEND"

// A bench measures on one device.
type bench struct {
	device  *gomlx.Device
	cuda    bool
	size    size
	results *results
}

// measure runs everything, on a GPU twice: with exact products and with TF32.
func measure(ctx context.Context, o options) (*results, error) {
	device, err := cli.Open(ctx)
	if err != nil {
		return nil, err
	}
	cuda := strings.Contains(strings.ToLower(device.Description()), "cuda")
	usual := "small"
	if cuda {
		usual = "paper"
	}
	b := &bench{device: device, cuda: cuda, size: o.sizeOr(usual), results: &results{Backend: device.Description()}}
	b.results.Size = b.size
	if cuda {
		b.results.GPU, _ = askGPU(ctx, "name") // it is only shown
	}
	err = b.network(ctx, "float32", gomlx.Float32)
	if err == nil {
		err = b.network(ctx, "bfloat16 products", gomlx.Bfloat16)
	}
	if err == nil {
		err = b.calibration(ctx)
	}
	if err == nil {
		err = b.sinkhorn(ctx)
	}
	device.Close()
	if err == nil && cuda {
		err = b.tf32(ctx)
	}
	if err == nil && o.python != "none" {
		b.peers(ctx, o.python)
		err = ctx.Err()
	}
	return b.results, err
}

// sizeOr returns the size that the options ask for, or the usual one.
func (o options) sizeOr(usual string) size {
	s := sizes()[cmp.Or(o.size, usual)]
	s.Batch, s.Repeat = cmp.Or(o.batch, s.Batch), cmp.Or(o.repeat, s.Repeat)
	return s
}

// tf32 measures with products that the GPU may round to TF32.
func (b *bench) tf32(ctx context.Context) error {
	old := os.Getenv(backendVariable)
	if err := os.Setenv(backendVariable, "xla:cuda,tf32=true"); err != nil {
		return err
	}
	defer func() { _ = os.Setenv(backendVariable, old) }() // fails for malformed names only
	device, err := cli.Open(ctx)
	if err != nil {
		return err
	}
	defer device.Close()
	b.device = device
	return b.network(ctx, "TF32 products", gomlx.Float32)
}

// time calls f again and again and adds a row. The first call counts by itself.
func (b *bench) time(x row, f func() error) error {
	x.Tool = "otfuse"
	started := time.Now()
	if err := f(); err != nil {
		return fmt.Errorf("%s, %s: %w", x.Call, x.Precision, err)
	}
	x.First = time.Since(started).Seconds()
	seconds := make([]float64, b.size.Repeat)
	for i := range seconds {
		started = time.Now()
		if err := f(); err != nil {
			return fmt.Errorf("%s, %s: %w", x.Call, x.Precision, err)
		}
		seconds[i] = time.Since(started).Seconds()
	}
	slices.Sort(seconds)
	x.Seconds, x.Memory = seconds[len(seconds)/2], b.memory()
	b.add(x)
	return nil
}

// add keeps a row and tells of it.
func (b *bench) add(x row) {
	b.results.Rows = append(b.results.Rows, x)
	cli.Notice("%s: %s, %s: %.4f s", x.Tool, x.Call, x.Precision, x.Seconds)
}

// memory is what the GPU holds in all, or the process where there is none, in MiB.
func (b *bench) memory() *float64 {
	if !b.cuda {
		return meter.Held()
	}
	text, err := askGPU(context.Background(), "memory.used")
	used, failed := strconv.ParseFloat(text, 64)
	if err != nil || failed != nil {
		return nil
	}
	return &used
}

// askGPU returns what nvidia-smi says of the first GPU.
func askGPU(ctx context.Context, what string) (string, error) {
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu="+what, "--format=csv,noheader,nounits").Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), err
}

// network measures forward passes, with the loss, and updates. Parameters stay on the
// device.
func (b *bench) network(ctx context.Context, name string, precision gomlx.Precision) error {
	m, err := b.model(1)
	if err != nil {
		return err
	}
	trainer, err := b.device.Trainer(m, gomlx.TrainConfig{Steps: b.size.Repeat + 1, LR: 1e-4, WeightDecay: 0.05, Clip: 1,
		Precision: precision})
	if err != nil {
		return err
	}
	defer trainer.Close()
	batch := b.images(b.size.Batch)
	batch[models.Labels] = models.Array{Shape: []int{b.size.Batch}, Ints: make([]int32, b.size.Batch)}
	if err := b.time(row{Call: "forward pass and loss", Precision: name, Images: b.size.Batch}, func() error {
		_, err := trainer.Loss(ctx, batch)
		return err
	}); err != nil {
		return err
	}
	return b.time(row{Call: "update", Precision: name, Images: b.size.Batch}, func() error {
		_, err := trainer.Update(ctx, batch)
		return err
	})
}

// model draws a vision transformer from a seed.
func (b *bench) model(seed uint64) (*models.Model, error) {
	c := models.ViTConfig{Hidden: b.size.Units, Layers: b.size.Layers, Heads: b.size.Heads, MLP: b.size.MLP,
		Act: graph.GELU, Eps: 1e-12, Image: 32, Patch: 4, Channels: 3, Labels: map[string]string{}}
	for i := range 10 {
		c.Labels[fmt.Sprint(i)] = fmt.Sprintf("LABEL_%d", i)
	}
	return models.Fresh(models.ViT(), c, seed, 0.02)
}

// images draws images of normal noise.
func (b *bench) images(n int) models.Batch {
	random := rand.New(rand.NewPCG(3, 0))
	x := models.Array{Shape: []int{n, 3, 32, 32}, Floats: make([]float32, n*3*32*32)}
	for i := range x.Floats {
		x.Floats[i] = float32(random.NormFloat64())
	}
	return models.Batch{"pixel_values": x}
}

// calibration measures a calibration of two networks as the paper's recipe asks for it.
func (b *bench) calibration(ctx context.Context) error {
	anchor, err := b.model(1)
	if err != nil {
		return err
	}
	other, err := b.model(2)
	if err != nil {
		return err
	}
	c := b.device.Calibration(b.images(b.size.Batch), align.Window{Size: 6})
	c.Narrow, c.Batch = true, b.size.Batch
	recorder := &recorder{of: c}
	x := row{Call: "calibration of two networks", Precision: "float32", Images: b.size.Batch}
	return b.time(x, func() error {
		if recorder.want != nil {
			_, err := c.Collect(ctx, other, anchor, *recorder.want)
			return err
		}
		_, _, err := fuse.Align(ctx, anchor, []*models.Model{other}, fuse.Transport{}, &fuse.Settings{Calibration: recorder})
		return err
	})
}

// A recorder is a calibration that notes what it was asked for.
type recorder struct {
	of   *gomlx.Calibration
	want *align.Request
}

func (r *recorder) Collect(ctx context.Context, source, anchor *models.Model,
	want align.Request) (*align.Statistics, error) {
	r.want = &want
	return r.of.Collect(ctx, source, anchor, want)
}

// sinkhorn measures a transport problem on the device.
func (b *bench) sinkhorn(ctx context.Context) error {
	n := b.size.Sinkhorn
	random := rand.New(rand.NewPCG(5, 0))
	cost := mat.NewDense(n, n, nil)
	cost.Apply(func(_, _ int, _ float64) float64 { return random.Float64() }, cost)
	solver := b.device.Sinkhorn(ot.Sinkhorn{Reg: 0.08})
	return b.time(row{Call: fmt.Sprintf("Sinkhorn 0.08, %d units", n), Precision: "float64"}, func() error {
		_, err := solver.Solve(ctx, ot.Problem{Cost: cost})
		return err
	})
}
