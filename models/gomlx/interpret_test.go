package gomlx

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// parity is how far float32 may be from float64, and one library from another.
const parity = 1e-4

func openDevice(t testing.TB) *Device {
	d, err := Open(t.Context(), func(p models.Progress) { t.Log(p.Stage, p.Item) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// shallow is net with one layer: what is compiled takes long by its size.
func shallow(net modeltest.Net) modeltest.Net {
	net.Config.Layers = 1
	return net
}

func randomModel(t *testing.T, net modeltest.Net, seed uint64) *models.Model {
	m, err := net.Model(seed)
	require.NoError(t, err)
	return m
}

// everywhere lists all nodes.
func everywhere(g *graph.Graph) []int {
	var ids []int
	for _, n := range g.Nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

// values runs m and returns every node's value by name: as it lies in memory.
func values(t *testing.T, d *Device, m *models.Model, batch models.Batch) map[string]models.Array {
	inputs, all := m.Graph.Inputs(), tensorNames(m.Graph)
	p := d.newProgram("all nodes", computation{graph: func(in []*gx.Node) []*gx.Node {
		return interpret(m.Graph, byName(all, in[len(inputs):]), byName(inputs, in[:len(inputs)]), everywhere(m.Graph)...)
	}})
	defer p.free()
	params, err := d.upload(t.Context(), m)
	require.NoError(t, err)
	in, err := d.uploadBatch(batch, inputs)
	require.NoError(t, err)
	out, err := p.call(t.Context(), arguments(in, params)...)
	require.NoError(t, err)
	got := map[string]models.Array{}
	for i, n := range m.Graph.Nodes {
		if slices.Contains(inputs, n.Name) {
			continue
		}
		data, err := valuesOf[float32](out[i])
		require.NoError(t, err)
		got[n.Name] = models.Array{Shape: out[i].Shape().Clone().Dimensions, Floats: data}
	}
	require.NoError(t, errors.Join(free(in...), free(params...), free(out...)))
	return got
}

// TestForward compares every node of every kind of network with float64.
func TestForward(t *testing.T) {
	d := openDevice(t)
	for _, net := range modeltest.Nets() {
		net = shallow(net)
		t.Run(net.Arch.Class, func(t *testing.T) {
			m, batch := randomModel(t, net, 1), net.Batch(3, 2)
			want := modeltest.Forward(m, batch)
			got := values(t, d, m, batch)
			for _, n := range m.Graph.Nodes {
				if want[0][n.ID] == nil {
					continue
				}
				var flat []float64
				for _, sample := range want {
					flat = append(flat, sample[n.ID].RawMatrix().Data...)
				}
				if v := got[n.Name]; len(v.Floats) != len(flat) {
					flat = flat[:len(v.Floats)] // the rows of a table, the same for all samples
				}
				require.LessOrEqual(t, modeltest.Apart(t, flat, got[n.Name].Floats), parity, n.Name)
			}
			logits, err := d.Logits(t.Context(), m, batch)
			require.NoError(t, err)
			require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, batch), logits.Floats), parity)
			last, _ := want[0][len(want[0])-1].Dims()
			shape := []int{3, last, m.Graph.Nodes[len(m.Graph.Nodes)-1].Units}
			if net.Config.Labels != nil {
				shape = []int{3, m.Classes()}
			}
			require.Equal(t, shape, logits.Shape)
		})
	}
}

// TestActivations compares all activations, on small values and on some beyond ±10.
func TestActivations(t *testing.T) {
	d := openDevice(t)
	for _, fn := range graph.Activations() {
		net := shallow(modeltest.ViT())
		net.Config.Act = fn
		m, batch := randomModel(t, net, 1), net.Batch(2, 2)
		bias := m.Params["vit.encoder.layer.0.intermediate.dense.bias"].Data
		bias[0], bias[1] = -15, 15
		logits, err := d.Logits(t.Context(), m, batch)
		require.NoError(t, err)
		require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, batch), logits.Floats), parity, fn)
	}
}

// TestPermutationLaw: relabelling the units of every space leaves the logits as
// they are on the device too.
func TestPermutationLaw(t *testing.T) {
	d := openDevice(t)
	for _, net := range modeltest.Nets() {
		m, batch := randomModel(t, net, 3), net.Batch(3, 4)
		moved, err := modeltest.Relabelled(t.Context(), m, 5)
		require.NoError(t, err)
		want, err := d.Logits(t.Context(), m, batch)
		require.NoError(t, err)
		got, err := d.Logits(t.Context(), moved, batch)
		require.NoError(t, err)
		require.Greater(t, slices.Max(want.Floats)-slices.Min(want.Floats), float32(0.1))
		require.LessOrEqual(t, modeltest.Apart(t, want.Floats, got.Floats), parity, net.Arch.Class)
	}
}

// TestLogitsErrors: a batch that does not fit is an error, and the device goes
// on.
func TestLogitsErrors(t *testing.T) {
	d := openDevice(t)
	net := shallow(modeltest.ViT())
	m, batch := randomModel(t, net, 1), net.Batch(2, 2)
	_, err := d.Logits(t.Context(), m, models.Batch{"x": batch["pixel_values"]})
	require.ErrorContains(t, err, "pixel_values")
	_, err = d.Logits(t.Context(), m, models.Batch{"pixel_values": {Shape: []int{2, 3, 4, 4},
		Floats: make([]float32, 96)}})
	require.Error(t, err)
	_, err = d.Logits(t.Context(), m, models.Batch{"pixel_values": {Shape: []int{2, 3, 6, 6},
		Floats: make([]float32, 96)}})
	require.Error(t, err)
	fewer := maps.Clone(m.Params)
	delete(fewer, "classifier.bias")
	_, err = d.Logits(t.Context(), m.With(fewer), batch)
	require.ErrorContains(t, err, "classifier.bias")
	_, err = d.Logits(t.Context(), m, batch)
	require.NoError(t, err)
}

// goldens returns a folder of reference outputs, or skips.
func goldens(t *testing.T, folder string) string {
	dir := os.Getenv("OTFUSE_GOLDEN")
	if dir == "" {
		t.Skip("OTFUSE_GOLDEN is not set: no reference outputs to compare with")
	}
	dir = filepath.Join(dir, folder)
	require.DirExists(t, dir)
	return dir
}

func arrays(t *testing.T, path string) map[string]models.Array {
	f, err := safetensors.Open(path)
	require.NoError(t, err)
	defer f.Close()
	out := map[string]models.Array{}
	for _, name := range f.Names() {
		raw, err := f.Tensor(name)
		require.NoError(t, err)
		a := models.Array{Shape: raw.Shape}
		if a.Ints, err = raw.Int32s(); err != nil {
			a.Ints = nil
			a.Floats, err = raw.Float32s()
			require.NoError(t, err)
		}
		out[name] = a
	}
	return out
}

// TestReferenceLogits compares with transformers on its own checkpoints.
func TestReferenceLogits(t *testing.T) {
	dir := goldens(t, "parents")
	d := openDevice(t)
	images := models.Batch{"pixel_values": arrays(t, filepath.Join(dir, "images.safetensors"))["pixel_values"]}
	texts := models.Batch(arrays(t, filepath.Join(dir, "tokens.safetensors")))
	compared := 0
	for name, want := range arrays(t, filepath.Join(dir, "parent_logits.safetensors")) {
		batch := images
		if strings.HasPrefix(name, "bert") {
			batch = texts.Slice(0, want.Shape[0])
		}
		m, err := models.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		got, err := d.Logits(t.Context(), m, batch)
		require.NoError(t, err)
		require.Equal(t, want.Shape, got.Shape, name)
		require.LessOrEqual(t, modeltest.Apart(t, want.Floats, got.Floats), parity, name)
		compared++
	}
	require.GreaterOrEqual(t, compared, 14)
}

// TestReferenceActivations compares module by module.
func TestReferenceActivations(t *testing.T) {
	dir := filepath.Join(goldens(t, "parents"), "vit_a", "model_0")
	d := openDevice(t)
	m, err := models.Open(dir, models.ViT())
	require.NoError(t, err)
	images := models.Batch{"pixel_values": arrays(t, filepath.Join(dir, "..", "..", "images.safetensors"))["pixel_values"]}
	got := values(t, d, m, images.Slice(0, 1))
	want := arrays(t, filepath.Join(dir, "acts_image0.safetensors"))
	require.Greater(t, len(want), 20)
	for name, a := range want {
		node := name
		switch {
		case name == "vit.embeddings.patch_embeddings":
			node += ".projection"
		case name == "logits":
			node = "output"
		case strings.Count(name, ".") == 3: // vit.encoder.layer.0: what leaves the layer
			node += ".output"
		}
		require.Contains(t, got, node)
		require.Equal(t, a.Shape, got[node].Shape, name)
		require.LessOrEqual(t, modeltest.Apart(t, a.Floats, got[node].Floats), parity, name)
	}
}
