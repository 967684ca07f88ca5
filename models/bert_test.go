package models_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestClassify: a classifier keeps the encoder of a masked language model, and
// its directory says what it is.
func TestClassify(t *testing.T) {
	arch := models.BERTForMaskedLM()
	c := models.BERTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 16, Act: "gelu", Eps: 1e-12,
		InitStd: 0.02, Vocab: 11, Positions: 6, TypeVocab: 2}
	m, err := models.Fresh(arch, c, 1, 0.2)
	require.NoError(t, err)
	m.Files = map[string][]byte{"vocab.txt": []byte("[PAD]\n")}
	dir := filepath.Join(t.TempDir(), "m")
	require.NoError(t, m.Save(dir))
	m, err = models.Open(dir)
	require.NoError(t, err)

	made, err := models.Classify(m, []string{"bad", "fair", "good"}, 7)
	require.NoError(t, err)
	for name, p := range m.Params {
		if got, ok := made.Params[name]; ok {
			assert.Equal(t, p.Data, got.Data, name)
		}
	}
	assert.Len(t, made.Params, len(m.Params)-5+4, "the head of words went, pooler and classifier came")
	assert.Equal(t, []int{3, 8}, made.Params["classifier.weight"].Shape)
	require.NoError(t, made.Save(dir))
	again, err := models.Open(dir)
	require.NoError(t, err)
	assert.Equal(t, "BertForSequenceClassification", again.Arch.Class)
	assert.Equal(t, map[string]string{"0": "bad", "1": "fair", "2": "good"},
		again.Config.(models.BERTClassifierConfig).Labels)
	assert.Equal(t, m.Files, again.Files)

	// A classifier made again keeps its pooler; the classifier is new.
	twice, err := models.Classify(again, []string{"0", "1"}, 8)
	require.NoError(t, err)
	assert.Equal(t, made.Params["bert.pooler.dense.weight"].Data, twice.Params["bert.pooler.dense.weight"].Data)
	assert.Equal(t, []int{2, 8}, twice.Params["classifier.weight"].Shape)
	_, err = models.Classify(&models.Model{}, []string{"0"}, 0)
	assert.Error(t, err)
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
