package gomlx

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
)

// TestFamilies compares what the networks of [modeltest.Nets] lack: positions that are
// looked up, two heads on tokens of their own with their mean, windows of tokens, norms
// within heads, rotary positions on a part of each head and layers packed head by head.
func TestFamilies(t *testing.T) {
	d := openDevice(t)
	vit := modeltest.ViT().ModelConfig().(models.ViTConfig)
	bert := modeltest.MaskedLM().ModelConfig().(models.BERTConfig)
	llama := modeltest.Llama().ModelConfig().(models.LlamaConfig)
	window := 2
	for _, c := range []struct {
		arch   models.Architecture
		config models.Config
	}{
		{models.Mistral(), models.MistralConfig{LlamaConfig: llama, Window: &window}},
		{models.Qwen3(), models.Qwen3Config{LlamaConfig: llama}},
		{models.GPTNeoX(), models.GPTNeoXConfig{Hidden: 16, Layers: 2, Heads: 2, MLP: 12, Act: "gelu", Eps: 1e-5, Vocab: 11,
			Theta: 20, PartRotary: 0.5, Parallel: true, AttentionBias: true}},
		{models.DeiTWithTeacher(), models.DeiTTeacherConfig{ViTConfig: vit}},
		{models.RoBERTaForMaskedLM(), models.RoBERTaConfig{BERTConfig: bert, Pad: 1}},
		{models.BERTForPreTraining(), models.BERTPreTrainingConfig{BERTConfig: bert}},
	} {
		m, err := modeltest.Random(c.arch, c.config, 1)
		require.NoError(t, err)
		batch, err := modeltest.Batch(m, 3, 2)
		require.NoError(t, err)
		delete(batch, "position_ids")
		complete, err := m.Complete(batch)
		require.NoError(t, err)
		logits, err := d.Logits(t.Context(), m, batch)
		require.NoError(t, err)
		require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, complete), logits.Floats), parity, c.arch.Class)
	}
}

// TestReferenceFamily compares with transformers where positions are looked up.
func TestReferenceFamily(t *testing.T) {
	dir := filepath.Join(goldens(t, "families"), "roberta")
	d := openDevice(t)
	m, err := models.Open(dir)
	require.NoError(t, err)
	batch, err := m.ReadSamples(filepath.Join(dir, "inputs.safetensors"))
	require.NoError(t, err)
	got, err := d.Logits(t.Context(), m, batch)
	require.NoError(t, err)
	want := arrays(t, filepath.Join(dir, "outputs.safetensors"))["logits"]
	require.Equal(t, want.Shape, got.Shape)
	for i, v := range batch["attention_mask"].Ints {
		if from, to := i*m.Classes(), (i+1)*m.Classes(); v == 1 {
			require.LessOrEqual(t, modeltest.Apart(t, want.Floats[from:to], got.Floats[from:to]), 1e-4)
		}
	}
}

// TestFurtherHeads: a head that no loss reads does not hinder training, and stays
// where it is.
func TestFurtherHeads(t *testing.T) {
	d := openDevice(t)
	c := shallow(modeltest.MaskedLM()).ModelConfig().(models.BERTConfig)
	m, err := modeltest.Random(models.BERTForPreTraining(), models.BERTPreTrainingConfig{BERTConfig: c}, 1)
	require.NoError(t, err)
	batch, err := modeltest.Batch(m, 4, 2)
	require.NoError(t, err)
	tr := trainer(t, d, m, TrainConfig{Steps: 3, LR: 0.01})
	var losses []float64
	for range 3 {
		loss, err := tr.Update(t.Context(), batch)
		require.NoError(t, err)
		losses = append(losses, loss)
	}
	require.Less(t, losses[2], losses[0])
	after := trained(t, tr)
	require.Equal(t, m.Params["cls.seq_relationship.weight"].Data, after["cls.seq_relationship.weight"].Data)
	require.NotEqual(t, m.Params["cls.predictions.bias"].Data, after["cls.predictions.bias"].Data)
}

// TestNoLogits: nothing is learned from features, nor taught by them.
func TestNoLogits(t *testing.T) {
	d := openDevice(t)
	c := shallow(modeltest.MaskedLM()).ModelConfig().(models.BERTConfig)
	m, err := modeltest.Random(models.BERTEncoder(), models.BERTEncoderConfig{BERTConfig: c}, 1)
	require.NoError(t, err)
	batch, err := modeltest.Batch(m, 2, 2)
	require.NoError(t, err)
	features, err := d.Logits(t.Context(), m, batch)
	require.NoError(t, err)
	require.LessOrEqual(t, modeltest.Apart(t, modeltest.Logits(m, batch), features.Floats), parity)

	spaces, _ := m.Graph.Spaces()
	learner := d.Learner(func(int) (models.Batch, error) { return batch, nil })
	_, err = learner.Learn(t.Context(), []*models.Model{m, m}, spaces)
	require.ErrorContains(t, err, "BertModel puts out features")
	_, err = d.Student(m, []*models.Model{m}, nil, TrainConfig{Steps: 1, LR: 0.1})
	require.ErrorContains(t, err, "must put out logits")
}
