package fuse_test

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// onDisk returns a model that is linked to files of at most so many bytes.
func onDisk(t *testing.T, m *models.Model, shardSize int64) *models.Model {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	require.NoError(t, m.SaveShards(dir, shardSize))
	linked, err := models.Link(dir, m.Arch)
	require.NoError(t, err)
	require.Nil(t, linked.Params)
	return linked
}

// TestDirectory: what goes to a directory while it is made is what is made in memory, and
// stays on disk.
func TestDirectory(t *testing.T) {
	for _, net := range modeltest.Nets() {
		a := onDisk(t, model(t, net, 1), 3000)
		others := []*models.Model{onDisk(t, model(t, net, 2), 3000), onDisk(t, model(t, net, 3), 0)}
		for _, c := range []struct {
			method fuse.Method
			set    fuse.Settings
		}{
			{fuse.Vanilla{}, fuse.Settings{}},
			{fuse.Transport{}, fuse.Settings{}},
			{fuse.Transport{Residual: graph.WeightedScalar{}}, fuse.Settings{Calibration: calibration(net)}},
			{fuse.Transport{}, fuse.Settings{Calibration: calibration(net), Refit: &fuse.Refit{Ridge: 0.1}}},
			{fuse.Matching{}, fuse.Settings{}},
			{fuse.Matching{}, fuse.Settings{Weights: []float64{0.6, 0.4}}},
		} {
			if c.set.Weights == nil {
				c.set.Weights = []float64{0.5, 0.3, 0.2}
			}
			others := others[:len(c.set.Weights)-1]
			want, report, err := fuse.Into(t.Context(), a, others, c.method, &c.set)
			require.NoError(t, err)
			c.set.Directory = &fuse.Directory{Path: filepath.Join(t.TempDir(), "fused"), ShardSize: 2000}
			got, same, err := fuse.Into(t.Context(), a, others, c.method, &c.set)
			require.NoError(t, err)
			require.Nil(t, got.Params)
			require.Len(t, same.Nodes, len(report.Nodes))
			got, err = got.Load()
			require.NoError(t, err)
			sameBits(t, want.Params, got.Params)
			shards, err := filepath.Glob(filepath.Join(c.set.Directory.Path, "model-*-of-*.safetensors"))
			require.NoError(t, err)
			require.Greater(t, len(shards), 1)
		}
	}
}

// TestDirectoryOfFailure: a fusion that fails says why, and leaves nothing behind.
func TestDirectoryOfFailure(t *testing.T) {
	net := modeltest.ViT()
	a, b := onDisk(t, model(t, net, 1), 0), onDisk(t, model(t, net, 2), 0)
	set := fuse.Settings{Directory: &fuse.Directory{Path: filepath.Join(t.TempDir(), "fused")}}
	_, _, err := fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Transport{Aligner: fuse.OnActivations()}, &set)
	require.ErrorIs(t, err, fuse.ErrNoCalibration)
	require.NotContains(t, err.Error(), "saving")
	require.NoDirExists(t, set.Directory.Path)
	ctx, cancel := context.WithCancel(t.Context())
	set.Observe = func(models.Progress) { cancel() }
	_, _, err = fuse.Into(ctx, a, []*models.Model{b}, fuse.Transport{}, &set)
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, set.Directory.Path)
	set.Observe, set.Directory.ShardSize = nil, -1
	_, _, err = fuse.Into(t.Context(), a, []*models.Model{b}, fuse.Vanilla{}, &set)
	require.ErrorContains(t, err, "shards of -1 bytes")
}

// deep returns a network of so many layers, whose tensors are large beside what the library
// keeps of its nodes.
func deep(layers int) models.LlamaConfig {
	return models.LlamaConfig{Hidden: 64, Layers: layers, Heads: 4, KeyHeads: 2, MLP: 128, Act: graph.SiLU, Eps: 1e-6,
		Vocab: 500, Theta: 10000}
}

// TestHeldMemory: whatever the depth, a fusion from disk to disk holds a few tensors and the
// plans of one site, and of all layers no more than reports and, under matching, the entries
// of maps.
func TestHeldMemory(t *testing.T) {
	const largest = 4 * 64 * 500                      // bytes: the word embeddings
	const plan = 8 * 128 * 128                        // bytes: of hidden units
	const reports = 10_000                            // bytes of a layer, whose weights take 240,000
	const entries = (8 + 4) * (2*64*16 + 128 + 2*128) // bytes of the maps of a layer, of two kinds of heads
	for name, c := range map[string]struct {
		method fuse.Method
		limit  float64 // of what is held between two nodes
		layer  float64 // of what a layer adds to it
	}{
		"vanilla":   {fuse.Vanilla{}, 4 * largest, reports},
		"transport": {fuse.Transport{}, 4*largest + 4*plan, reports},
		"matching":  {fuse.Matching{Rounds: 2}, 4*largest + 4*plan, reports + entries},
	} {
		t.Run(name, func(t *testing.T) {
			held := map[int]float64{}
			for _, layers := range []int{2, 4, 8, 16} {
				held[layers] = heldBy(t, c.method, layers)
				require.LessOrEqual(t, held[layers], c.limit, "%d layers", layers)
			}
			require.LessOrEqual(t, held[16], held[2]+14*c.layer, "%v", held)
		})
	}
}

// heldBy returns the most bytes that are reachable at a call of the observer, beyond those
// at the start.
func heldBy(t *testing.T, method fuse.Method, layers int) float64 {
	var ms []*models.Model
	for seed := range uint64(2) {
		m, err := models.Fresh(models.Llama(), deep(layers), seed, 0.02)
		require.NoError(t, err)
		ms = append(ms, onDisk(t, m, 100_000))
	}
	runtime.GC() // finalizers let go what the next collection takes
	start, most, looks := reachable(), 0.0, 0
	set := fuse.Settings{Directory: &fuse.Directory{Path: filepath.Join(t.TempDir(), "fused"), ShardSize: 100_000},
		Observe: func(p models.Progress) {
			if p.Done%3 == 0 { // a look costs a collection
				most = max(most, reachable()-start)
				looks++
			}
		}}
	_, _, err := fuse.Into(t.Context(), ms[0], ms[1:], method, &set)
	require.NoError(t, err)
	require.Greater(t, looks, layers)
	runtime.KeepAlive(ms)
	return most
}

// reachable returns the bytes of Go's heap that are reachable.
func reachable() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// counting is a calibration that keeps what it was asked for.
type counting struct {
	fuse.Calibration
	requests *[]align.Request
}

func (c counting) Collect(ctx context.Context, src, anchor *models.Model, want align.Request) (
	*align.Statistics, error) {
	*c.requests = append(*c.requests, want)
	return c.Calibration.Collect(ctx, src, anchor, want)
}

// TestMomentBytes: moments are collected in groups below the limit, each site once, and the
// groups make no difference.
func TestMomentBytes(t *testing.T) {
	for _, net := range modeltest.Nets() {
		a, others := model(t, net, 1), []*models.Model{model(t, net, 2), model(t, net, 3)}
		for _, method := range []fuse.Method{fuse.Transport{Residual: graph.WeightedMatrix{}},
			fuse.Transport{QK: fuse.Joint}, fuse.Matching{Mix: 0.3}} {
			fused := map[int64]models.Params{}
			for _, limit := range []int64{0, 1, 5000} {
				var requests []align.Request
				set := fuse.Settings{Calibration: counting{calibration(net), &requests}, MomentBytes: limit}
				m, _, err := fuse.Into(t.Context(), a, others, method, &set)
				require.NoError(t, err)
				fused[limit] = m.Params
				sites := 0
				for _, r := range requests {
					sites += len(r.Sites)
					if limit == 1 {
						require.LessOrEqual(t, len(r.Sites), 1)
					}
				}
				require.Greater(t, sites, len(others))
				if limit == 0 {
					require.LessOrEqual(t, len(requests), 3)
				}
			}
			sameBits(t, fused[0], fused[1])
			sameBits(t, fused[0], fused[5000])
		}
	}
	a := model(t, modeltest.ViT(), 1)
	_, _, err := fuse.Into(t.Context(), a, []*models.Model{a}, nil, &fuse.Settings{MomentBytes: -1})
	require.ErrorContains(t, err, "MomentBytes is -1")
}
