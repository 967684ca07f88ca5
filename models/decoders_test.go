package models_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestGPT2Groups: the stream of a decoder whose logits have a layer of their own may
// be rotated, although that layer has no bias; tied to the words it may be permuted.
func TestGPT2Groups(t *testing.T) {
	for tied, want := range map[bool]graph.Group{true: graph.Permutation, false: graph.MeanKeeping} {
		c := models.GPT2Config{Hidden: 8, Layers: 1, Heads: 2, Act: graph.GELUTanh, Eps: 1e-5, Vocab: 11, Positions: 7,
			ScaleByWidth: true, Tied: tied}
		s, err := c.Spec()
		require.NoError(t, err)
		spaces, of := s.Graph.Spaces()
		require.Equal(t, want, spaces[of[s.Graph.Find("transformer.wte").ID]].Group)
	}
}

// decoderFamilies are the families of causal language models.
func decoderFamilies() []family {
	return slices.DeleteFunc(families(), func(f family) bool {
		return !strings.HasSuffix(f.arch.Class, "ForCausalLM") && !strings.HasSuffix(f.arch.Class, "LMHeadModel")
	})
}

// TestDecoderGroups: what the parts of a decoder allow follows from its options.
func TestDecoderGroups(t *testing.T) {
	for _, f := range decoderFamilies() {
		m, err := modeltest.Random(f.arch, f.config, 1)
		require.NoError(t, err)
		spaces, of := m.Graph.Spaces()
		group := func(name string) string {
			n := m.Graph.Find(name)
			require.NotNil(t, n, "%s: %s", f.arch.Class, name)
			return spaces[of[n.ID]].Group.String()
		}
		switch c := f.config.(type) {
		case models.GPT2Config:
		case models.GPTNeoXConfig:
			require.Equal(t, map[bool]string{true: "permutation", false: "mean-keeping"}[c.Tied], group("gpt_neox.embed_in"))
			require.Equal(t, "head planes", group("gpt_neox.layers.0.attention.key"))
			require.Equal(t, "permutation", group("gpt_neox.layers.1.mlp.act"))
		default:
			words := map[bool]string{true: "signed permutation", false: "orthogonal"}[hasTiedWords(m)]
			require.Equal(t, words, group("model.embed_tokens"), f.arch.Class)
			queries := map[bool]string{true: "head signs", false: "head planes"}[f.arch.Class == models.Qwen3().Class]
			require.Equal(t, queries, group("model.layers.0.self_attn.k_proj"), f.arch.Class)
			require.Equal(t, "headwise", group("model.layers.0.self_attn.v_proj"))
			require.Equal(t, "signed permutation", group("model.layers.1.mlp.up_proj"))
		}
	}
}

// TestUntie: an untied decoder computes the same, is saved and opened as what it is, and
// its stream turns.
func TestUntie(t *testing.T) {
	for _, f := range decoderFamilies() {
		m, err := modeltest.Random(f.arch, f.config, 1)
		require.NoError(t, err)
		untied, err := models.Untie(m)
		require.NoError(t, err)
		if !hasTiedWords(m) {
			require.Same(t, m, untied)
			continue
		}
		batch, err := modeltest.Batch(m, 2, 3)
		require.NoError(t, err)
		require.Equal(t, modeltest.Logits(m, batch), modeltest.Logits(untied, batch), f.arch.Class)
		require.Len(t, untied.Params, len(m.Params)+1)
		spaces, _ := untied.Graph.Spaces()
		require.True(t, spaces[0].Group.Rotates(), f.arch.Class)

		opened, err := models.Open(saved(t, m))
		require.NoError(t, err)
		untied, err = models.Untie(opened)
		require.NoError(t, err)
		again, err := models.Open(saved(t, untied))
		require.NoError(t, err)
		require.False(t, hasTiedWords(again))
		require.Equal(t, untied.Params, again.Params)
		require.True(t, hasTiedWords(m), "the model itself stays as it was")
	}
	bert, err := modeltest.MaskedLM().Model(1)
	require.NoError(t, err)
	_, err = models.Untie(bert)
	require.ErrorContains(t, err, "models: untying BertForMaskedLM: ")
	require.ErrorContains(t, err, "config.json: tie_word_embeddings is false")
}

func hasTiedWords(m *models.Model) bool {
	for _, n := range m.Graph.Nodes {
		if n.Op == graph.Unembed {
			return true
		}
	}
	return false
}

// TestDecoderConfigs: what is not supported is an error that names the key.
func TestDecoderConfigs(t *testing.T) {
	sizes := `"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9,
		"num_key_value_heads": 2, "head_dim": 4`
	for says, c := range map[string]struct {
		arch models.Architecture
		more string
	}{
		`rope_type "dynamic" is not supported (supported: default, linear, llama3, yarn)`: {models.Llama(),
			`"rope_scaling": {"type": "dynamic", "factor": 2}`},
		`rope_type "longrope" is not supported`: {models.Llama(),
			`"rope_parameters": {"rope_type": "longrope", "rope_theta": 100}`},
		`"full_attention" has rotary positions of its own`: {models.Qwen3(),
			`"rope_parameters": {"full_attention": {"rope_theta": 100}}`},
		"quantization_config":             {models.Llama(), `"quantization_config": {"quant_method": "gptq"}`},
		"factor of rope_type linear is 0": {models.Llama(), `"rope_scaling": {"rope_type": "linear"}`},
		"rope_type llama3 has low_freq_factor 0": {models.Llama(),
			`"rope_scaling": {"rope_type": "llama3", "factor": 2}`},
		"rope_theta is 0":                          {models.Llama(), `"rope_theta": 0`},
		"partial_rotary_factor is 0.5":             {models.Llama(), `"partial_rotary_factor": 0.5`},
		"is not a multiple of num_key_value_heads": {models.Llama(), `"num_key_value_heads": 3`},
		"turn 3 units of each head":                {models.Llama(), `"head_dim": 3`},
		"attention_bias or mlp_bias is true":       {models.Mistral(), `"attention_bias": true`},
		"sliding_window is -1":                     {models.Mistral(), `"sliding_window": -1`},
		"mlp_bias is true":                         {models.Qwen3(), `"mlp_bias": true`},
		"layer_types names 1 layers":               {models.Qwen2(), `"layer_types": ["full_attention"]`},
		`layer_types has "chunked_attention"`: {models.Qwen3(),
			`"layer_types": ["full_attention", "chunked_attention"]`},
		"rotary_pct is 2":                            {models.GPTNeoX(), `"rotary_pct": 2`},
		"num_hidden_layers is 0, want at least 1":    {models.GPTNeoX(), `"num_hidden_layers": 0`},
		`unknown activation "laplace"`:               {models.Llama(), `"hidden_act": "laplace"`},
		"num_key_value_heads is -2, want at least 1": {models.Qwen2(), `"num_key_value_heads": -2`},
	} {
		config, err := c.arch.Parse([]byte(`{` + sizes + `, ` + c.more + `}`))
		if err == nil {
			_, err = config.Spec()
		}
		require.ErrorContains(t, err, says)
	}
}

// TestRopeDialects: all ways to write rotary positions are read alike.
func TestRopeDialects(t *testing.T) {
	read := func(arch models.Architecture, text string) models.Config {
		c, err := arch.Parse([]byte(text))
		require.NoError(t, err)
		return c
	}
	factor := &models.RopeScaling{Type: "linear", Factor: 2}
	for _, text := range []string{`{"rope_theta": 50, "rope_scaling": {"type": "linear", "factor": 2}}`,
		`{"rope_parameters": {"rope_theta": 50, "rope_type": "linear", "factor": 2.0}}`,
		`{"rope_theta": 50, "rope_parameters": {"rope_type": "linear", "factor": 2}, "rope_scaling": null}`} {
		c := read(models.Llama(), text).(models.LlamaConfig)
		require.Equal(t, 50.0, c.Theta)
		require.Equal(t, factor, c.Scaling)
	}
	plain := read(models.Llama(), `{"rope_parameters": {"rope_theta": 50, "rope_type": "default"}}`).(models.LlamaConfig)
	require.Equal(t, 50.0, plain.Theta)
	require.Nil(t, plain.Scaling)
	for _, text := range []string{`{"rotary_emb_base": 50, "rotary_pct": 0.5}`,
		`{"rope_parameters": {"rope_theta": 50, "rope_type": "default", "partial_rotary_factor": 0.5}}`} {
		c := read(models.GPTNeoX(), text).(models.GPTNeoXConfig)
		require.Equal(t, []float64{50, 0.5}, []float64{c.Theta, c.PartRotary})
	}
}

// TestDecoderGoldens: logits are those of transformers under every option of decoders.
// benchmarks/peers/decoder_goldens.py writes the folder.
func TestDecoderGoldens(t *testing.T) {
	folder := os.Getenv("OTFUSE_DECODER_GOLDEN")
	if folder == "" {
		t.Skip("OTFUSE_DECODER_GOLDEN names no folder of benchmarks/peers/decoder_goldens.py: nothing is compared")
	}
	cases, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(c.Name(), func(t *testing.T) {
			m, samples, want := readGolden(t, filepath.Join(folder, c.Name()))
			requireGolden(t, m, samples, want)
		})
	}
}
