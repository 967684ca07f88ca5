// Package benchmarks_test measures with go test what the programs below measure at
// the size of the paper: fusions, calibration, updates and scores.
//
//	go test -run xxx -bench . ./benchmarks
package benchmarks_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// The network and the samples: a fifth of the width of the paper's ViT.
const (
	width, depth, heads = 72, 3, 4
	samples, batchSize  = 64, 32
)

// network draws a vision transformer from a seed.
func network(b *testing.B, seed uint64) *models.Model {
	c := models.ViTConfig{Hidden: width, Layers: depth, Heads: heads, MLP: 4 * width, Act: "gelu", Eps: 1e-12,
		Image: 32, Patch: 4, Channels: 3, Labels: map[string]string{}}
	for k := range 10 {
		c.Labels[fmt.Sprint(k)] = fmt.Sprint("label ", k)
	}
	m, err := models.Fresh(models.ViT(), c, seed, 0.02)
	require.NoError(b, err)
	return m
}

// images draws labelled images.
func images(n int) models.Batch {
	rng := rand.New(rand.NewPCG(3, 0))
	x := models.Array{Shape: []int{n, 3, 32, 32}, Floats: make([]float32, n*3*32*32)}
	y := models.Array{Shape: []int{n}, Ints: make([]int32, n)}
	for i := range x.Floats {
		x.Floats[i] = float32(rng.NormFloat64())
	}
	for i := range y.Ints {
		y.Ints[i] = int32(rng.IntN(10))
	}
	return models.Batch{"pixel_values": x, models.Labels: y}
}

// open opens the device and draws a pair of networks.
func open(b *testing.B) (d *gomlx.Device, anchor, other *models.Model) {
	d, err := gomlx.Open(b.Context(), nil)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, d.Close()) })
	return d, network(b, 1), network(b, 2)
}

// BenchmarkFuse fuses a pair by every method. What the device compiles is compiled
// before.
func BenchmarkFuse(b *testing.B) {
	d, anchor, other := open(b)
	calibrated := &fuse.Settings{Calibration: d.Calibration(images(samples), align.Window{Size: 6})}
	refitted := &fuse.Settings{Calibration: calibrated.Calibration, Refit: &fuse.Refit{Ridge: 0.01}}
	for _, c := range []struct {
		name     string
		method   fuse.Method
		settings *fuse.Settings
	}{
		{"vanilla", fuse.Vanilla{}, nil},
		{"vanilla-refit", fuse.Vanilla{}, refitted},
		{"transport-weights", fuse.Transport{}, nil},
		{"transport-activations", fuse.Transport{}, calibrated},
		{"matching-weights", fuse.Matching{}, nil},
		{"matching-activations", fuse.Matching{Mix: 0.3}, calibrated},
	} {
		b.Run(c.name, func(b *testing.B) {
			fuseOnce := func() {
				_, _, err := fuse.Into(b.Context(), anchor, []*models.Model{other}, c.method, c.settings)
				require.NoError(b, err)
			}
			fuseOnce()
			for b.Loop() {
				fuseOnce()
			}
		})
	}
}

// BenchmarkCalibration collects what the recipe of the paper asks for: the moments
// of every node whose map is solved.
func BenchmarkCalibration(b *testing.B) {
	d, anchor, other := open(b)
	c := d.Calibration(images(samples), align.Window{Size: 6})
	var want align.Request
	for _, n := range anchor.Graph.Nodes {
		if n.Flow() == graph.Solve && len(n.Args) > 0 {
			want.Sites = append(want.Sites, anchor.Graph.Nodes[n.ID:n.ID+1])
		}
	}
	collect := func() {
		_, err := c.Collect(b.Context(), other, anchor, want)
		require.NoError(b, err)
	}
	collect()
	for b.Loop() {
		collect()
	}
}

// BenchmarkUpdate makes updates of a training.
func BenchmarkUpdate(b *testing.B) {
	d, anchor, other := open(b)
	batch := images(batchSize)
	config := gomlx.TrainConfig{Steps: 1 << 30, LR: 1e-5}
	for _, c := range []struct {
		name string
		open func() (*gomlx.Trainer, error)
	}{
		{"labels", func() (*gomlx.Trainer, error) { return d.Trainer(anchor, config) }},
		{"distillation", func() (*gomlx.Trainer, error) {
			return d.Student(anchor, []*models.Model{anchor, other}, nil, config)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			t, err := c.open()
			require.NoError(b, err)
			defer t.Close()
			update := func() {
				_, err := t.Update(b.Context(), batch)
				require.NoError(b, err)
			}
			update()
			for b.Loop() {
				update()
			}
		})
	}
}

// BenchmarkScore scores a network and an ensemble.
func BenchmarkScore(b *testing.B) {
	d, anchor, other := open(b)
	data := images(samples)
	for _, c := range []struct {
		name   string
		models []*models.Model
	}{{"one", []*models.Model{anchor}}, {"ensemble", []*models.Model{anchor, other}}} {
		b.Run(c.name, func(b *testing.B) {
			score := func() {
				_, err := d.Evaluate(b.Context(), data, samples, c.models...)
				require.NoError(b, err)
			}
			score()
			for b.Loop() {
				score()
			}
		})
	}
}
