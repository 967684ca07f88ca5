package models_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// described returns the model of a net whose directory has the given
// config.json.
func described(t *testing.T, net modeltest.Net, config string) *models.Model {
	dir := saved(t, model(t, net))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o644))
	m, err := models.Open(dir, net.Arch)
	require.NoError(t, err)
	return m
}

// configOf returns the config.json that a model is saved with, and opens it
// again.
func configOf(t *testing.T, m *models.Model) string {
	dir := saved(t, m)
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	again, err := models.Open(dir, m.Arch)
	require.NoError(t, err)
	require.Equal(t, m.Config, again.Config)
	return string(text)
}

// vitText is a config.json with keys that nothing here knows, in an order and a
// layout of its own.
const vitText = `{ "transformers_version" : "4.27.4",
	"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
	"nested": {"of": [1, 2.50], "layer_norm_eps": 3},
	"intermediate_size": 12, "qkv_bias": true, "layer_norm_eps" :1e-6,
	"id2label": {"0": "a", "1": "b", "2": "c"},
	"image_size": 6, "patch_size": 2,
	"architectures": ["ViTForImageClassification"] }
`

// TestConfigChanged: what changed in Go is put into the text that was read, and
// nothing else of it changes.
func TestConfigChanged(t *testing.T) {
	m := described(t, modeltest.ViT(), vitText)
	require.Equal(t, vitText, configOf(t, m))
	require.Equal(t, vitText, configOf(t, m.With(m.Params)))

	c := m.Config.(models.ViTConfig)
	c.Eps, c.Act, c.QKVBias, c.DType = 1e-5, graph.ReLU, nil, "float16"
	c.Labels = map[string]string{"0": "x", "1": "y", "2": "z"}
	changed, err := m.WithConfig(c)
	require.NoError(t, err)
	require.Equal(t, `{ "transformers_version" : "4.27.4",
	"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
	"nested": {"of": [1, 2.50], "layer_norm_eps": 3},
	"intermediate_size": 12, "layer_norm_eps": 0.00001,
	"id2label": {
    "0": "x",
    "1": "y",
    "2": "z"
  },
	"image_size": 6, "patch_size": 2,
	"architectures": ["ViTForImageClassification"],
	"hidden_act": "relu",
	"torch_dtype": "float16" }
`, configOf(t, changed))
	require.Equal(t, graph.ReLU, changed.Graph.Find("vit.encoder.layer.0.intermediate").Fn, "the network is that of the new configuration")
	require.Equal(t, vitText, configOf(t, m), "the model that it was made of stays as it is")
	undone, err := changed.WithConfig(m.Config)
	require.NoError(t, err)
	require.Equal(t, vitText, configOf(t, undone))

	c.Hidden = 16
	_, err = m.WithConfig(c)
	require.ErrorContains(t, err, "vit.layernorm.weight", "a configuration that the parameters do not fit")
	c.Hidden = 0
	_, err = m.WithConfig(c)
	require.ErrorContains(t, err, "hidden_size")
}

// TestConfigPatched: members are replaced, added and left out wherever they
// stand.
func TestConfigPatched(t *testing.T) {
	yes := true
	const rest = `"hidden_size":8,"num_hidden_layers":2,"num_attention_heads":2,"intermediate_size":12,"layer_norm_eps":1e-6,` +
		`"id2label":{"0":"a","1":"b","2":"c"},"image_size":6,"patch_size":2,"architectures":["ViTForImageClassification"]`
	for text, want := range map[string]string{
		`{"qkv_bias":true,` + rest + `}`:                        `{` + rest + `}`,
		`{` + rest + `,"qkv_bias":true}`:                        `{` + rest + `}`,
		"{" + rest + "\n,\n\"qkv_bias\" : true\n}":              "{" + rest + "\n}",
		`{"qkv_bias":true,` + rest + `,"qkv_bias":true, "x":1}`: `{` + rest + `, "x":1}`,
	} {
		m := described(t, modeltest.ViT(), text)
		c := m.Config.(models.ViTConfig)
		require.Equal(t, &yes, c.QKVBias)
		c.QKVBias = nil
		changed, err := m.WithConfig(c)
		require.NoError(t, err)
		require.Equal(t, want, configOf(t, changed))
		require.Equal(t, text, configOf(t, m))
	}
}

// TestConfigFresh: a configuration made in Go is saved with its class.
func TestConfigFresh(t *testing.T) {
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(configOf(t, model(t, modeltest.Classifier()))), &got))
	require.Equal(t, []any{"BertForSequenceClassification"}, got["architectures"])
	require.Equal(t, "bert", got["model_type"])
	require.Equal(t, 8., got["hidden_size"])
	require.NotContains(t, got, "initializer_range", "what is left at its default is left out")
}

// TestConfigOfClassifier: a classifier on an opened model keeps what its
// config.json says besides, and takes another class.
func TestConfigOfClassifier(t *testing.T) {
	const text = `{"architectures": ["BertForMaskedLM"], "pad_token_id": 3, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
 "intermediate_size": 12, "vocab_size": 11, "max_position_embeddings": 7, "type_vocab_size": 2}`
	made, err := models.Classify(described(t, modeltest.MaskedLM(), text), []string{"bad", "good"}, 1)
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(configOf(t, made)), &got))
	require.Equal(t, []any{"BertForSequenceClassification"}, got["architectures"])
	require.Equal(t, 3., got["pad_token_id"])
	require.Equal(t, map[string]any{"0": "bad", "1": "good"}, got["id2label"])
	_, err = models.Classify(model(t, modeltest.ViT()), []string{"bad"}, 1)
	require.ErrorContains(t, err, "BERT")
}

// forgetful is a configuration that is not written as it is read.
type forgetful struct {
	models.ViTConfig
	Patch int `json:"patch,omitempty"` // hides patch_size
}

func (c forgetful) Spec() (models.Spec, error) {
	c.ViTConfig.Patch = 2
	return c.ViTConfig.Spec()
}

// TestConfigThatDoesNotReadBack is not saved.
func TestConfigThatDoesNotReadBack(t *testing.T) {
	vit := model(t, modeltest.ViT())
	stale := models.Architecture{Class: "Forgetful", Parse: func(text []byte) (models.Config, error) {
		c, err := models.ViT().Parse(text)
		if err != nil {
			return nil, err
		}
		return forgetful{ViTConfig: c.(models.ViTConfig)}, nil
	}}
	m, err := models.New(stale, forgetful{ViTConfig: vit.Config.(models.ViTConfig), Patch: 2}, vit.Params)
	require.NoError(t, err)
	require.ErrorContains(t, m.Save(filepath.Join(t.TempDir(), "out")), `"patch" is written as 2`)
	other, err := models.New(models.SimpleViT(), vit.Config, vit.Params)
	require.NoError(t, err)
	require.ErrorContains(t, other.Save(filepath.Join(t.TempDir(), "out")), "models.SimpleViTConfig, the model has models.ViTConfig")
}

// TestNewChecks: parameters that Open would refuse are refused.
func TestNewChecks(t *testing.T) {
	net := modeltest.ViT()
	m := model(t, net)
	for says, change := range map[string]func(*models.Tensor){
		`"classifier.bias": shape [3] holds 3 values, got 2`: func(p *models.Tensor) { p.Data = p.Data[:2] },
		`"classifier.bias": shape [3] holds 3 values, got 0`: func(p *models.Tensor) { p.Data = nil },
		`"classifier.bias" is NaN at position 1`:             func(p *models.Tensor) { p.Data = []float32{0, nan(), 0} },
		`"classifier.bias" of classifier has shape [4]`:      func(p *models.Tensor) { p.Shape = []int{4} },
	} {
		p := models.Params{}
		for name, q := range m.Params {
			p[name] = q
		}
		bias := p["classifier.bias"]
		change(&bias)
		p["classifier.bias"] = bias
		_, err := models.New(net.Arch, m.Config, p)
		require.ErrorContains(t, err, says)
	}
	_, err := models.New(net.Arch, m.Config, nil)
	require.ErrorIs(t, err, models.ErrNoParams)
	require.ErrorIs(t, m.With(nil).Check(), models.ErrNoParams)
	_, err = m.With(nil).Tensor("classifier.bias")
	require.ErrorIs(t, err, models.ErrNoParams)
	require.NoError(t, m.Check())
	linked, err := models.Link(saved(t, m))
	require.NoError(t, err)
	_, err = models.New(net.Arch, m.Config, linked.Params)
	require.ErrorIs(t, err, models.ErrNoParams)
	require.ErrorContains(t, err, "Load")
}

func nan() float32 {
	var zero float32
	return zero / zero
}

// TestSaveChecks: what is no checkpoint of the network is not written as one.
func TestSaveChecks(t *testing.T) {
	m := model(t, modeltest.ViT())
	dir := saved(t, m)
	for says, p := range map[string]models.Params{
		"no parameters in memory": nil,
		"is missing":              {},
		`"classifier.bias"`:       with(m.Params, "classifier.bias", models.Tensor{Shape: []int{3}, Data: []float32{1, 2}}),
		"has shape [4], want [3]": with(m.Params, "classifier.bias", models.Tensor{Shape: []int{4}, Data: make([]float32, 4)}),
		"belongs to no node":      with(m.Params, "other", models.Tensor{Shape: []int{1}, Data: []float32{1}}),
	} {
		require.ErrorContains(t, m.With(p).Save(dir), says)
		require.ErrorContains(t, m.With(p).Save(dir), dir)
	}
	again, err := models.Open(dir)
	require.NoError(t, err, "what was there is still there")
	require.Equal(t, m.Params["classifier.bias"].Data, again.Params["classifier.bias"].Data)
}

// with returns a copy of p with one tensor more or another.
func with(p models.Params, name string, t models.Tensor) models.Params {
	out := models.Params{name: t}
	for other, q := range p {
		if other != name {
			out[other] = q
		}
	}
	return out
}

// TestSaveKeepsForeignFiles: a directory with anything in it that is not of a
// checkpoint is left as it is.
func TestSaveKeepsForeignFiles(t *testing.T) {
	m := model(t, modeltest.ViT())
	for name, change := range map[string]func(dir string) error{
		".git":                func(dir string) error { return os.Mkdir(filepath.Join(dir, ".git"), 0o755) },
		"vite.config.js":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "vite.config.js"), nil, 0o644) },
		"trainer.safetensors": func(dir string) error { return os.WriteFile(filepath.Join(dir, "trainer.safetensors"), nil, 0o644) },
		"names no architecture": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"port": 80}`), 0o644)
		},
		"config.json": func(dir string) error { return os.Remove(filepath.Join(dir, "config.json")) },
	} {
		dir := saved(t, m)
		require.NoError(t, models.Replaceable(dir))
		require.NoError(t, change(dir))
		before := listed(t, dir)
		require.ErrorContains(t, models.Replaceable(dir), name)
		require.ErrorContains(t, m.Save(dir), name)
		require.Equal(t, before, listed(t, dir))
	}
	require.NoError(t, models.Replaceable(t.TempDir()), "an empty directory")
	require.NoError(t, models.Replaceable(filepath.Join(t.TempDir(), "none")))
}

// listed returns the names in a directory.
func listed(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
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
	for name, ignored := range map[string]bool{"vit.position_ids": true, "position_ids": true, "my_position_ids": false} {
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
