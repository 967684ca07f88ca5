package models_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// model returns a random model whose values every float type can hold.
func model(t *testing.T, net modeltest.Net) *models.Model {
	m, err := net.Model(1)
	require.NoError(t, err)
	for _, p := range m.Params {
		for i, v := range p.Data {
			p.Data[i] = float32(math.Round(float64(v)*32) / 32)
		}
	}
	m.Files = map[string][]byte{}
	return m
}

// typed returns m stored as dtype.
func typed(m *models.Model, dtype safetensors.DType) *models.Model {
	p := models.Params{}
	for name, t := range m.Params {
		t.DType = dtype
		p[name] = t
	}
	return m.With(p)
}

// saved writes m to a new directory.
func saved(t *testing.T, m *models.Model) string {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	require.NoError(t, m.Save(dir))
	return dir
}

// savedWith writes m to a new directory with value v in place i of a tensor, whatever Save
// thinks of it.
func savedWith(t *testing.T, m *models.Model, name string, i int, v float32) string {
	dir := saved(t, m)
	stored := read(t, dir)
	values, err := stored[name].Float32s()
	require.NoError(t, err)
	values[i] = v
	stored[name], err = safetensors.FromFloat32(stored[name].DType, stored[name].Shape, values)
	require.NoError(t, err)
	write(t, dir, stored)
	return dir
}

// read reads the tensors of a checkpoint as they are stored.
func read(t *testing.T, dir string) map[string]safetensors.Tensor {
	c, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	defer c.Close()
	out := map[string]safetensors.Tensor{}
	for _, name := range c.Names() {
		out[name], err = c.Tensor(name)
		require.NoError(t, err)
	}
	return out
}

func write(t *testing.T, dir string, ts map[string]safetensors.Tensor) {
	require.NoError(t, safetensors.WriteFile(filepath.Join(dir, safetensors.SingleName), ts, nil))
}

// TestRoundTrip: Open(Save(m)) is m, bit for bit, and its files with it.
func TestRoundTrip(t *testing.T) {
	for _, net := range modeltest.Nets() {
		for _, dtype := range []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16} {
			t.Run(fmt.Sprint(net.Arch.Class, "/", dtype), func(t *testing.T) {
				m := typed(model(t, net), dtype)
				m.Files["preprocessor_config.json"] = []byte(`{"size": 6}`)
				m.Files["README.md"] = nil
				dir := saved(t, m)
				for name, raw := range read(t, dir) {
					require.Equal(t, dtype, raw.DType, name)
				}
				got, err := models.Open(dir, net.Arch)
				require.NoError(t, err)
				require.Equal(t, m.Params, got.Params)
				require.Equal(t, m.Graph.String(), got.Graph.String())
				require.Equal(t, []byte(`{"size": 6}`), got.Files["preprocessor_config.json"])
				require.Contains(t, got.Files, "README.md")
				again := saved(t, got)
				for _, entry := range []string{safetensors.SingleName, "config.json", "preprocessor_config.json"} {
					a, err := os.ReadFile(filepath.Join(dir, entry))
					require.NoError(t, err)
					b, err := os.ReadFile(filepath.Join(again, entry))
					require.NoError(t, err)
					require.Equal(t, a, b, entry)
				}
			})
		}
	}
}

// TestSharded reads weights that are spread over two files.
func TestSharded(t *testing.T) {
	m := model(t, modeltest.ViT())
	dir := saved(t, m)
	shards := [2]map[string]safetensors.Tensor{{}, {}}
	index := map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(m.Params)) {
		raw := read(t, dir)[name]
		shards[i%2][name] = raw
		index[name] = fmt.Sprintf("model-%05d-of-00002.safetensors", i%2+1)
	}
	require.NoError(t, os.Remove(filepath.Join(dir, safetensors.SingleName)))
	for i, ts := range shards {
		require.NoError(t, safetensors.WriteFile(filepath.Join(dir, fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)), ts,
			nil))
	}
	text, err := json.Marshal(map[string]any{"metadata": map[string]int{"total_size": 1}, "weight_map": index})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, safetensors.IndexName), text, 0o644))
	got, err := models.Open(dir)
	require.NoError(t, err)
	for name, p := range m.Params {
		require.Equal(t, p.Data, got.Params[name].Data, name)
	}
	require.NotContains(t, got.Files, safetensors.IndexName, "what is saved is one file")
	require.NoError(t, os.Remove(filepath.Join(dir, "model-00002-of-00002.safetensors")))
	_, err = models.Open(dir)
	require.ErrorContains(t, err, "model-00002-of-00002.safetensors")
}

// TestTensorsThatDoNotFit: all of them are named at once.
func TestTensorsThatDoNotFit(t *testing.T) {
	dir := saved(t, model(t, modeltest.ViT()))
	ts := read(t, dir)
	delete(ts, "classifier.bias")
	delete(ts, "vit.layernorm.weight")
	ts["pooler.bias"], ts["vit.pooler.bias"] = ts["vit.layernorm.bias"], ts["vit.layernorm.bias"]
	wrong, err := safetensors.FromFloat32(safetensors.F32, []int{8, 3}, make([]float32, 24))
	require.NoError(t, err)
	ts["classifier.weight"] = wrong
	write(t, dir, ts)
	_, err = models.Open(dir)
	require.ErrorContains(t, err, dir)
	var one *graph.TensorError
	require.ErrorAs(t, err, &one)
	for _, text := range []string{`"classifier.bias"`, `"vit.layernorm.weight"`, `"pooler.bias"`, `"vit.pooler.bias"`,
		`"classifier.weight" of classifier has shape [8 3], want [3 8]`} {
		require.ErrorContains(t, err, text)
	}
	require.NotContains(t, err.Error(), `"vit.layernorm.bias"`)
}

// TestWeightsThatAreNoNumbers: a NaN or an infinity is named with its tensor and
// place.
func TestWeightsThatAreNoNumbers(t *testing.T) {
	for _, dtype := range []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16} {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			m := typed(model(t, modeltest.ViT()), dtype)
			_, err := models.Open(savedWith(t, m, "vit.layernorm.bias", 5, bad))
			require.ErrorContains(t, err, "vit.layernorm.bias")
			require.ErrorContains(t, err, "position 5")
		}
	}
	dir := saved(t, model(t, modeltest.ViT()))
	ts := read(t, dir)
	huge, err := safetensors.FromFloat64([]int{3}, []float64{1, 1e300, 1})
	require.NoError(t, err)
	ts["classifier.bias"] = huge
	write(t, dir, ts)
	_, err = models.Open(dir)
	require.ErrorContains(t, err, "classifier.bias", "a float64 beyond float32")
	ints, err := safetensors.FromInt64([]int{3}, []int64{1, 2, 3})
	require.NoError(t, err)
	ts["classifier.bias"] = ints
	write(t, dir, ts)
	_, err = models.Open(dir)
	require.ErrorContains(t, err, "classifier.bias", "integers are no weights")
}

// TestFloat64 is read as float32 and written so.
func TestFloat64(t *testing.T) {
	dir := saved(t, model(t, modeltest.ViT()))
	ts := read(t, dir)
	wide, err := safetensors.FromFloat64([]int{3}, []float64{1, 0.1, -3})
	require.NoError(t, err)
	ts["classifier.bias"] = wide
	write(t, dir, ts)
	m, err := models.Open(dir)
	require.NoError(t, err)
	require.Equal(t, []float32{1, 0.1, -3}, m.Params["classifier.bias"].Data)
	require.Equal(t, safetensors.F32, read(t, saved(t, m))["classifier.bias"].DType)
}

// TestAliasesAndBuffers: tensors of older checkpoints are found under their new
// names, buffers are passed over, and a tensor that is there under both names
// is an error.
func TestAliasesAndBuffers(t *testing.T) {
	net := modeltest.ViT()
	net.Arch.Aliases = map[string]string{"classifier.beta": "classifier.bias"}
	net.Arch.Ignored = []string{".position_ids"}
	dir := saved(t, model(t, net))
	ts := read(t, dir)
	ids, err := safetensors.FromInt64([]int{1, 2}, []int64{0, 1})
	require.NoError(t, err)
	ts["vit.embeddings.position_ids"] = ids
	ts["classifier.beta"] = ts["classifier.bias"]
	write(t, dir, ts)
	_, err = models.Open(dir, net.Arch)
	require.ErrorContains(t, err, "classifier.beta")
	delete(ts, "classifier.bias")
	write(t, dir, ts)
	m, err := models.Open(dir, net.Arch)
	require.NoError(t, err)
	require.Contains(t, m.Params, "classifier.bias")
	require.Len(t, m.Params, len(ts)-1)
}

func TestUnknownArchitecture(t *testing.T) {
	net := modeltest.Words()
	dir := saved(t, model(t, net))
	_, err := models.Open(dir)
	require.ErrorIs(t, err, models.ErrArchitecture)
	require.ErrorContains(t, err, net.Arch.Class)
	for _, a := range models.Known() {
		require.ErrorContains(t, err, a.Class)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o644))
	_, err = models.Open(dir)
	require.ErrorIs(t, err, models.ErrArchitecture)
}

func TestOpenNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := models.Open(filepath.Join(dir, "gone"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"),
		[]byte(`{"architectures": ["ViTForImageClassification"]}`), 0o644))
	m, err := models.Open(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, dir)
	require.Nil(t, m)
	require.NoError(t, os.WriteFile(filepath.Join(dir, safetensors.SingleName), []byte("not tensors"), 0o644))
	_, err = models.Open(dir)
	var format *safetensors.FormatError
	require.ErrorAs(t, err, &format)
}

// TestNoParse: an architecture that reads no config.json is saved and not
// opened.
func TestNoParse(t *testing.T) {
	m := own(t, models.Spec{Graph: classifier(t, 17)})
	dir := saved(t, m)
	_, err := models.Open(dir, m.Arch)
	require.ErrorContains(t, err, "no Parse")
}

// TestIgnoredNames: a buffer is named whole or by what follows a dot.
func TestIgnoredNames(t *testing.T) {
	net := modeltest.ViT()
	net.Arch.Ignored = []string{"position_ids"}
	dir := saved(t, model(t, net))
	ts := read(t, dir)
	for name, ignored := range map[string]bool{"vit.embeddings.position_ids": true, "position_ids": true,
		"vit.embeddings.my_position_ids": false} {
		ts[name] = ts["vit.layernorm.bias"]
		write(t, dir, ts)
		_, err := models.Open(dir, net.Arch)
		if ignored {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, name)
		}
		delete(ts, name)
	}
}
