package models_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
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

// TestSaveBits: not a bit of a float32 is lost, of the least as of the largest.
func TestSaveBits(t *testing.T) {
	net := modeltest.ViT()
	m := model(t, net)
	odd := []float32{float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, -math.MaxFloat32, 1 + 1.0/(1<<23), 1e-40}
	copy(m.Params["classifier.weight"].Data, odd)
	got, err := models.Open(saved(t, m))
	require.NoError(t, err)
	for i, v := range odd {
		require.Equal(t, math.Float32bits(v), math.Float32bits(got.Params["classifier.weight"].Data[i]))
	}
}

// TestConfigKept: keys that nothing here knows outlive a round trip, as does
// the text around them.
func TestConfigKept(t *testing.T) {
	dir := saved(t, model(t, modeltest.ViT()))
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text = []byte(strings.Replace(string(text), "{", "{\n \"transformers_version\": \"4.27.4\", \"nested\": {\"of\": [1, 2.50]},", 1))
	require.NoError(t, os.WriteFile(path, text, 0o644))
	m, err := models.Open(dir)
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join(saved(t, m.With(m.Params)), "config.json"))
	require.NoError(t, err)
	require.Equal(t, string(text), string(got))
}

// TestConfigDefaults: what config.json leaves out is what transformers assumes.
func TestConfigDefaults(t *testing.T) {
	parsed, err := models.ViT().Parse([]byte(`{"hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
		"image_size": 4, "patch_size": 2}`))
	require.NoError(t, err)
	c := parsed.(models.ViTConfig)
	spec, err := c.Spec()
	require.NoError(t, err)
	require.Equal(t, graph.GELU, c.Act)
	require.Equal(t, 1e-12, c.Eps)
	require.Equal(t, 3, c.Channels)
	require.Equal(t, 2, spec.Classes())
	require.Nil(t, c.QKVBias)
	for _, text := range []string{"", "{", `{"hidden_size": "large"}`, `{"hidden_size": 1.5}`, `[]`, `{"hidden_size": 1e99}`} {
		_, err := models.ViT().Parse([]byte(text))
		require.ErrorContains(t, err, "config.json", text)
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
		require.NoError(t, safetensors.WriteFile(filepath.Join(dir, fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)), ts, nil))
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
			m.Params["vit.layernorm.bias"].Data[5] = bad
			_, err := models.Open(saved(t, m))
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
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"architectures": ["ViTForImageClassification"]}`), 0o644))
	m, err := models.Open(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, dir)
	require.Nil(t, m)
	require.NoError(t, os.WriteFile(filepath.Join(dir, safetensors.SingleName), []byte("not tensors"), 0o644))
	_, err = models.Open(dir)
	var format *safetensors.FormatError
	require.ErrorAs(t, err, &format)
}

// TestSaveFails: an error, and nothing that looks like a checkpoint.
func TestSaveFails(t *testing.T) {
	m := model(t, modeltest.ViT())
	parent := t.TempDir()
	list := func() []string {
		var names []string
		entries, err := os.ReadDir(parent)
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	require.NoError(t, os.WriteFile(filepath.Join(parent, "file"), []byte("kept"), 0o644))
	require.Error(t, m.Save(filepath.Join(parent, "file", "below")))
	require.Error(t, m.Save(filepath.Join(parent, "file")))
	for _, name := range []string{"../escape.json", "a/b.json", "/abs.json", "..", "config.json", safetensors.SingleName} {
		bad := *m
		bad.Files = map[string][]byte{name: []byte("{}")}
		require.Error(t, bad.Save(filepath.Join(parent, "out")), name)
	}
	require.Equal(t, []string{"file"}, list())

	broken := m.With(maps.Clone(m.Params))
	broken.Params["classifier.bias"] = models.Tensor{Shape: []int{4}, Data: []float32{1, 2, 3}}
	require.ErrorContains(t, broken.Save(filepath.Join(parent, "out")), "classifier.bias")

	other := filepath.Join(parent, "other")
	require.NoError(t, os.Mkdir(other, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(other, "diary.txt"), []byte("dear"), 0o644))
	require.Error(t, m.Save(other), "a directory that is no checkpoint")
	require.FileExists(t, filepath.Join(other, "diary.txt"))

	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		return // nothing is unwritable
	}
	require.NoError(t, os.Chmod(parent, 0o555))
	defer func() { require.NoError(t, os.Chmod(parent, 0o755)) }()
	require.ErrorIs(t, m.Save(filepath.Join(parent, "out")), fs.ErrPermission)
	require.Equal(t, []string{"file", "other"}, list())
}

// TestSaveReplaces: an older checkpoint gives way as a whole.
func TestSaveReplaces(t *testing.T) {
	m := model(t, modeltest.ViT())
	m.Files["old.txt"] = []byte("old")
	dir := saved(t, m)
	m.Files = map[string][]byte{"new.txt": []byte("new")}
	require.NoError(t, m.Save(dir))
	got, err := models.Open(dir)
	require.NoError(t, err)
	require.Equal(t, m.Files, got.Files)
}

// TestViTConfig: what cannot be a ViT is an error that names the key.
func TestViTConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*modeltest.Config)
		says   string
	}{
		"patch does not divide": {func(c *modeltest.Config) { c.Patch = 4 }, "image_size 6 is not a multiple of patch_size 4"},
		"heads do not divide":   {func(c *modeltest.Config) { c.Heads = 3 }, "3 heads"},
		"no hidden":             {func(c *modeltest.Config) { c.Hidden = 0 }, "hidden_size"},
		"no layers":             {func(c *modeltest.Config) { c.Layers = 0 }, "num_hidden_layers"},
		"no heads":              {func(c *modeltest.Config) { c.Heads = 0 }, "num_attention_heads"},
		"no mlp":                {func(c *modeltest.Config) { c.MLP = 0 }, "intermediate_size"},
		"no image":              {func(c *modeltest.Config) { c.Image = 0 }, "image_size"},
		"no patch":              {func(c *modeltest.Config) { c.Patch = 0 }, "patch_size"},
		"no channels":           {func(c *modeltest.Config) { c.Channels = 0 }, "num_channels"},
		"negative":              {func(c *modeltest.Config) { c.Hidden = -8 }, "hidden_size"},
		"absurd width":          {func(c *modeltest.Config) { c.Hidden = 1 << 40 }, "hidden_size"},
		"absurd image":          {func(c *modeltest.Config) { c.Image, c.Patch = 1<<62, 1<<62 }, "image_size"},
		"absurd depth":          {func(c *modeltest.Config) { c.Layers = 1 << 20 }, "num_hidden_layers"},
		"activation":            {func(c *modeltest.Config) { c.Act = "swish" }, "swish"},
	} {
		t.Run(name, func(t *testing.T) {
			net := modeltest.ViT()
			c.change(&net.Config)
			g, err := net.Graph()
			require.ErrorContains(t, err, c.says)
			require.Nil(t, g)
			_, err = models.New(net.Arch, net.ModelConfig(), nil)
			require.ErrorContains(t, err, net.Arch.Class)
		})
	}
}

func TestViTLayout(t *testing.T) {
	net := modeltest.ViT()
	require.Equal(t, align.Layout{Lead: 1, Rows: 3, Cols: 3}, model(t, net).Layout)
	no := false
	net.Config.QKVBias = &no
	g, err := net.Graph()
	require.NoError(t, err)
	require.Len(t, g.Find("vit.encoder.layer.0.attention.attention.key").Params, 1)
	require.Len(t, g.Find("vit.encoder.layer.0.attention.output.dense").Params, 2)
}

// TestInit: the same seed gives the same parameters, another seed others, of
// the right spread; gains are 1 and biases 0.
func TestInit(t *testing.T) {
	net := modeltest.ViT()
	net.Config.Hidden = 64
	g, err := net.Graph()
	require.NoError(t, err)
	a, b, c := models.Init(g, 1, 0.02), models.Init(g, 1, 0.02), models.Init(g, 2, 0.02)
	require.Equal(t, a, b)
	require.NoError(t, g.Check(a.Shapes()))
	const w = "vit.encoder.layer.0.attention.attention.query.weight"
	require.NotEqual(t, a[w], c[w])
	var sum float64
	for _, v := range a[w].Data {
		sum += float64(v) * float64(v)
	}
	require.InDelta(t, 0.02, math.Sqrt(sum/float64(len(a[w].Data))), 0.001)
	require.Equal(t, slices.Repeat([]float32{1}, 64), a["vit.layernorm.weight"].Data)
	require.Equal(t, make([]float32, 64), a["vit.layernorm.bias"].Data)
	require.Equal(t, make([]float32, 3), a["classifier.bias"].Data)
}

// TestBERTConfig: what cannot be a BERT is an error that names the key.
func TestBERTConfig(t *testing.T) {
	no := false
	for says, change := range map[string]func(*modeltest.Config){
		"vocab_size":              func(c *modeltest.Config) { c.Vocab = 0 },
		"max_position_embeddings": func(c *modeltest.Config) { c.Positions = 0 },
		"type_vocab_size":         func(c *modeltest.Config) { c.TypeVocab = -1 },
		"hidden_size":             func(c *modeltest.Config) { c.Hidden = 0 },
		"num_hidden_layers":       func(c *modeltest.Config) { c.Layers = 1 << 20 },
		"5 heads":                 func(c *modeltest.Config) { c.Heads = 5 },
		"position_embedding_type": func(c *modeltest.Config) { c.PosType = "relative_key" },
		"swish":                   func(c *modeltest.Config) { c.Act = "swish" },
	} {
		for _, net := range []modeltest.Net{modeltest.MaskedLM(), modeltest.Classifier()} {
			change(&net.Config)
			_, err := net.Graph()
			require.ErrorContains(t, err, says)
		}
	}
	net := modeltest.MaskedLM()
	net.Config.TieWords = &no
	_, err := net.Graph()
	require.ErrorContains(t, err, "tie_word_embeddings")
}
