package models_test

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestSimpleViTReference compares with vit-pytorch on weights and images made
// of sines; benchmarks/peers/simplevit_parity.py reference prints its logits.
func TestSimpleViTReference(t *testing.T) {
	net := modeltest.SimpleViT()
	m := model(t, net)
	p := models.Params{}
	for k, name := range slices.Sorted(maps.Keys(m.Params)) {
		v := m.Params[name]
		v.Data = sines(len(v.Data), 0.7, float64(k))
		p[name] = v
	}
	batch := models.Batch{"pixel_values": {Shape: []int{2, 3, 6, 6}, Floats: sines(216, 0.3, 0)}}
	want := []float64{-1.0566995, -2.3697001, -2.6328344, -1.0522742, -2.3655286, -2.6307891}
	require.InDeltaSlice(t, want, modeltest.Logits(m.With(p), batch), 1e-6)
}

func sines(n int, step, from float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(math.Sin(step*float64(i) + from))
	}
	return out
}

func TestSimpleViTSizes(t *testing.T) {
	for want, change := range map[string]func(*modeltest.Config){
		"hidden_size is 10":    func(c *modeltest.Config) { c.Hidden = 10 },
		"hidden_size is 4":     func(c *modeltest.Config) { c.Hidden = 4 },
		"head_dim is -1":       func(c *modeltest.Config) { c.HeadDim = -1 },
		"image_size 6 is not":  func(c *modeltest.Config) { c.Patch = 4 },
		"num_channels is 0":    func(c *modeltest.Config) { c.Channels = 0 },
		"intermediate_size is": func(c *modeltest.Config) { c.MLP = -3 },
	} {
		net := modeltest.SimpleViT()
		change(&net.Config)
		_, err := net.Graph()
		require.ErrorContains(t, err, want)
	}
}
