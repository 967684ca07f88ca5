package models_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestConfigKept: keys that nothing here knows outlive a round trip, as does
// the text around them.
func TestConfigKept(t *testing.T) {
	dir := saved(t, model(t, modeltest.ViT()))
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text = []byte(strings.Replace(string(text), "{",
		"{\n \"transformers_version\": \"4.27.4\", \"nested\": {\"of\": [1, 2.50]},", 1))
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
	for _, text := range []string{"", "{", `{"hidden_size": "large"}`, `{"hidden_size": 1.5}`, `[]`,
		`{"hidden_size": 1e99}`} {
		_, err := models.ViT().Parse([]byte(text))
		require.ErrorContains(t, err, "config.json", text)
	}
}

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
	require.Equal(t, graph.ReLU, changed.Graph.Find("vit.encoder.layer.0.intermediate").Fn,
		"the network is that of the new configuration")
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
	require.ErrorContains(t, other.Save(filepath.Join(t.TempDir(), "out")),
		"models.SimpleViTConfig, the model has models.ViTConfig")
}
