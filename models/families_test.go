package models_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// A family is an architecture that is close to one of [modeltest.Nets], at a small size.
type family struct {
	arch   models.Architecture
	config models.Config
}

func families() []family {
	vit := models.ViTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 12, Act: graph.GELU, Eps: 1e-6, Image: 4, Patch: 2,
		Channels: 1, Labels: map[string]string{"0": "a", "1": "b", "2": "c"}}
	bert := models.BERTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 12, Act: graph.GELUTanh, Eps: 1e-6, Vocab: 11,
		Positions: 9, TypeVocab: 2}
	roberta := models.RoBERTaConfig{BERTConfig: bert, Pad: 1}
	distil := models.DistilBERTConfig{Hidden: 8, Layers: 1, Heads: 2, MLP: 12, Act: graph.GELU, Vocab: 11, Positions: 7}
	gpt2 := models.GPT2Config{Hidden: 8, Layers: 2, Heads: 2, Act: graph.GELUTanh, Eps: 1e-5, Vocab: 11, Positions: 7,
		ScaleByWidth: true, Tied: true}
	llama := models.LlamaConfig{Hidden: 8, Layers: 2, Heads: 4, KeyHeads: 2, HeadDim: 4, MLP: 12, Act: graph.SiLU,
		Eps: 1e-6, Vocab: 11, Positions: 7, Theta: 20}
	tied := llama
	tied.Tied, tied.AttentionBias, tied.MLPBias, tied.KeyHeads = true, true, true, 4
	window := 3
	windows := models.LayerWindows{Windowed: true, Window: &window, From: 1}
	neox := models.GPTNeoXConfig{Hidden: 16, Layers: 2, Heads: 2, MLP: 12, Act: graph.GELU, Eps: 1e-5, Vocab: 11,
		Positions: 7, Theta: 20, PartRotary: 0.5, Parallel: true, AttentionBias: true}
	serial := neox
	serial.Parallel, serial.AttentionBias, serial.Tied = false, false, true
	untied := gpt2
	untied.Tied, untied.ScaleByLayer, untied.ScaleByWidth = false, true, false
	return []family{
		{models.DeiT(), models.DeiTConfig{ViTConfig: vit}},
		{models.DeiTWithTeacher(), models.DeiTTeacherConfig{ViTConfig: vit}},
		{models.BERTForPreTraining(), models.BERTPreTrainingConfig{BERTConfig: bert}},
		{models.ViTEncoder(), models.ViTEncoderConfig{ViTConfig: vit}},
		{models.BERTEncoder(), models.BERTEncoderConfig{BERTConfig: bert}},
		{models.RoBERTaForMaskedLM(), roberta},
		{models.RoBERTaForClassification(), models.RoBERTaClassifierConfig{RoBERTaConfig: roberta, Labels: vit.Labels}},
		{models.DistilBERTForMaskedLM(), distil},
		{models.DistilBERTForClassification(),
			models.DistilBERTClassifierConfig{DistilBERTConfig: distil, Labels: vit.Labels}},
		{models.GPT2(), gpt2},
		{models.GPT2(), untied},
		{models.Llama(), tied},
		{models.Mistral(), models.MistralConfig{LlamaConfig: llama, Window: &window}},
		{models.Qwen2(), models.Qwen2Config{LlamaConfig: llama, LayerWindows: windows}},
		{models.Qwen3(), models.Qwen3Config{LlamaConfig: llama, LayerWindows: windows}},
		{models.GPTNeoX(), neox},
		{models.GPTNeoX(), serial},
		{models.ViTEncoder(), models.ViTEncoderConfig{ViTConfig: vit, Pooler: true, PoolerSize: 6, PoolerAct: graph.ReLU}},
	}
}

func TestFamilyLaws(t *testing.T) {
	for _, f := range families() {
		t.Run(f.arch.Class, func(t *testing.T) { modeltest.TestArchitecture(t, f.arch, f.config) })
	}
}

// TestFamiliesAreKnown: a class is opened without naming its architecture.
func TestFamiliesAreKnown(t *testing.T) {
	for _, f := range families() {
		m, err := modeltest.Random(f.arch, f.config, 1)
		require.NoError(t, err)
		again, err := models.Open(saved(t, m))
		require.NoError(t, err)
		require.Equal(t, f.arch.Class, again.Arch.Class)
		require.Equal(t, m.Params.Shapes(), again.Params.Shapes())
	}
}

// golden opens the checkpoint of a family that transformers wrote, with samples and
// what it put out for them.
func golden(t *testing.T, name string) (m *models.Model, samples models.Batch, want []float32) {
	dir := os.Getenv("OTFUSE_GOLDEN")
	if dir == "" {
		t.Skip("OTFUSE_GOLDEN is not set: no reference outputs to compare with")
	}
	return readGolden(t, filepath.Join(dir, "families", name))
}

// readGolden opens a checkpoint that transformers wrote to a directory, with samples and
// what it put out for them.
func readGolden(t *testing.T, dir string) (m *models.Model, samples models.Batch, want []float32) {
	require.DirExists(t, dir)
	m, err := models.Open(dir)
	require.NoError(t, err)
	samples, err = m.ReadSamples(filepath.Join(dir, "inputs.safetensors"))
	require.NoError(t, err)
	f, err := safetensors.Open(filepath.Join(dir, "outputs.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	logits, err := f.Tensor("logits")
	require.NoError(t, err)
	want, err = logits.Float32s()
	require.NoError(t, err)
	return m, samples, want
}

// attended returns the logits of tokens that are not padding.
func attended[F float32 | float64](m *models.Model, samples models.Batch, logits []F) []F {
	mask, ok := samples["attention_mask"]
	if !ok {
		return logits
	}
	var out []F
	for i, v := range mask.Ints {
		if v == 1 {
			out = append(out, logits[i*m.Classes():(i+1)*m.Classes()]...)
		}
	}
	return out
}

// TestFamilyGoldens: logits and features are those of transformers, and a saved copy
// holds the same bits. Another model that is matched with the checkpoint keeps its
// logits; features of a relabelled copy come back in the basis of the checkpoint.
func TestFamilyGoldens(t *testing.T) {
	for name, class := range map[string]string{"deit": "DeiTForImageClassification", "bertmlm": "BertForMaskedLM",
		"bertpre": "BertForPreTraining", "roberta": "RobertaForMaskedLM", "distilbert": "DistilBertForMaskedLM",
		"bertmodel": "BertModel", "vitmodel": "ViTModel", "bertextra": "BertForMaskedLM",
		"gpt2": "GPT2LMHeadModel", "gpt2u": "GPT2LMHeadModel",
		"llama": "LlamaForCausalLM", "llamat": "LlamaForCausalLM", "mistral": "MistralForCausalLM",
		"qwen2": "Qwen2ForCausalLM"} {
		t.Run(name, func(t *testing.T) {
			m, samples, want := golden(t, name)
			require.Equal(t, class, m.Arch.Class)
			requireGolden(t, m, samples, want)
		})
	}
}

// requireGolden compares a model with what transformers puts out for it.
func requireGolden(t *testing.T, m *models.Model, samples models.Batch, want []float32) {
	got := attended(m, samples, modeltest.Logits(m, samples))
	require.LessOrEqual(t, modeltest.Apart(t, attended(m, samples, want), got), 1e-4)

	again, err := models.Open(saved(t, m))
	require.NoError(t, err)
	require.Equal(t, m.Params, again.Params)
	require.Equal(t, m.Config, again.Config)

	other, err := modeltest.Random(m.Arch, m.Config, 3)
	require.NoError(t, err)
	before := modeltest.Outputs(other, samples)
	if !m.Graph.HasLogits() {
		before = modeltest.Outputs(m, samples)
		other, err = modeltest.Relabelled(t.Context(), m, 3)
		require.NoError(t, err)
		require.Greater(t, modeltest.Apart(t, before, modeltest.Outputs(other, samples)), 0.1)
	}
	aligned, _, err := fuse.Align(t.Context(), m, []*models.Model{other}, fuse.Matching{}, nil)
	require.NoError(t, err)
	matched := aligned.Anchor.With(aligned.Others[0])
	require.NotEqual(t, other.Params, matched.Params)
	require.LessOrEqual(t, modeltest.Apart(t, before, modeltest.Outputs(matched, samples)), 1e-4)
}

// TestEncoderOfAnotherClass: the checkpoint of a class with heads is that of its
// encoder too, with the heads as extra tensors.
func TestEncoderOfAnotherClass(t *testing.T) {
	f := families()[2]
	whole, err := modeltest.Random(f.arch, f.config, 1)
	require.NoError(t, err)
	dir := saved(t, whole)
	configure(t, dir, func(c map[string]any) { c["architectures"] = []string{"BertModel"} })
	m, err := models.Open(dir)
	require.NoError(t, err)
	require.Len(t, m.Extra, 7, "predictions and relationship")
	require.Equal(t, whole.Params["bert.pooler.dense.weight"].Data, m.Params["pooler.dense.weight"].Data)
	require.Len(t, m.Params, len(whole.Params)-7)
	again, err := models.Open(saved(t, m))
	require.NoError(t, err)
	require.Equal(t, m.Params, again.Params)
	require.Equal(t, m.Extra, again.Extra)
}

// TestPoolerOfViT: a pooler that the tensors show is run, and a fused model has one that
// fits. A tensor that nothing reads is kept, but not where the norms that it may read are
// folded.
func TestPoolerOfViT(t *testing.T) {
	f := families()[3]
	c := f.config.(models.ViTEncoderConfig)
	c.Pooler = true
	a, err := modeltest.Random(f.arch, c, 1)
	require.NoError(t, err)
	a.Extra = map[string]safetensors.Tensor{"head.weight": tensor(t, 1, 2)}
	dir := saved(t, a)
	a, err = models.Open(dir)
	require.NoError(t, err)
	require.Contains(t, a.Params, "pooler.dense.weight")
	require.Equal(t, c, a.Config)
	samples, err := modeltest.Batch(a, 3, 2)
	require.NoError(t, err)
	for _, method := range []fuse.Method{fuse.Matching{}, fuse.Vanilla{}} {
		fused, _, err := fuse.Into(t.Context(), a, []*models.Model{a}, method, nil)
		require.NoError(t, err)
		again, err := models.Open(saved(t, fused))
		require.NoError(t, err)
		require.Len(t, again.Extra, 1)
		require.LessOrEqual(t, modeltest.Apart(t, modeltest.Outputs(a, samples), modeltest.Outputs(again, samples)), 1e-4)
	}
	classifier := model(t, modeltest.ViT())
	classifier.Extra = map[string]safetensors.Tensor{"vit.pooler.dense.weight": tensor(t, 1, 2)}
	for method, extra := range map[fuse.Method]int{fuse.Matching{}: 0, fuse.Vanilla{}: 1, fuse.Transport{}: 1} {
		fused, _, err := fuse.Into(t.Context(), classifier, []*models.Model{classifier}, method, nil)
		require.NoError(t, err)
		require.Len(t, fused.Extra, extra)
	}
}

// TestFeaturesHaveNoLabels: what has no logits is given no labels.
func TestFeaturesHaveNoLabels(t *testing.T) {
	m, err := modeltest.Random(models.BERTEncoder(), families()[4].config, 1)
	require.NoError(t, err)
	ids := models.Array{Shape: []int{1, 2}, Ints: []int32{1, 2}}
	_, err = m.Complete(models.Batch{"input_ids": ids, models.Labels: ids})
	require.ErrorContains(t, err, "BertModel puts out features, not logits")
}

// TestDeiTWithTeacher: the head of the class token is that of a DeiT with the same
// parameters, and the logits are the mean of both heads.
func TestDeiTWithTeacher(t *testing.T) {
	plain, samples, want := golden(t, "deit")
	c := models.DeiTTeacherConfig(plain.Config.(models.DeiTConfig))
	p := maps.Clone(plain.Params)
	p["cls_classifier.weight"], p["cls_classifier.bias"] = p["classifier.weight"], p["classifier.bias"]
	p["distillation_classifier.weight"], p["distillation_classifier.bias"] = p["classifier.weight"], p["classifier.bias"]
	delete(p, "classifier.weight")
	delete(p, "classifier.bias")
	m, err := models.New(models.DeiTWithTeacher(), c, p)
	require.NoError(t, err)
	heads := modeltest.Outputs(m, samples)
	require.Len(t, heads, 3*len(want))
	k := m.Classes()
	for i := range samples.Len() {
		logits, class, distilled := heads[3*k*i:][:k], heads[3*k*i+k:][:k], heads[3*k*i+2*k:][:k]
		require.LessOrEqual(t, modeltest.Apart(t, want[k*i:][:k], class), 1e-4)
		require.Greater(t, modeltest.Apart(t, class, distilled), 1e-2, "another token is read")
		for j, v := range logits {
			require.InDelta(t, (class[j]+distilled[j])/2, v, 1e-12)
		}
	}
	require.Equal(t, align.Layout{Lead: 2, Rows: 2, Cols: 2}, m.Layout)
	require.Equal(t, models.Input{Name: models.Labels, Below: 5}, m.Labels())
}

// TestRoBERTaPositions: positions skip padding wherever it stands, and a text may be
// as long as there are positions after the id of padding.
func TestRoBERTaPositions(t *testing.T) {
	f := families()[5]
	m, err := modeltest.Random(f.arch, f.config, 1)
	require.NoError(t, err)
	ids := models.Array{Shape: []int{2, 5}, Ints: []int32{3, 4, 5, 1, 1, 1, 0, 1, 7, 7}}
	b, err := m.Complete(models.Batch{"input_ids": ids})
	require.NoError(t, err)
	require.Equal(t, models.Array{Shape: []int{2, 5}, Ints: []int32{2, 3, 4, 1, 1, 1, 2, 1, 3, 4}}, b["position_ids"])
	_, err = m.Complete(models.Batch{"input_ids": {Shape: []int{1, 7}, Ints: make([]int32, 7)}})
	require.NoError(t, err)
	_, err = m.Complete(models.Batch{"input_ids": {Shape: []int{1, 8}, Ints: make([]int32, 8)}})
	require.ErrorContains(t, err, "T at most 7")
}

// TestFamilyConfigs: what cannot be a network of the class is an error that names
// the key.
func TestFamilyConfigs(t *testing.T) {
	sizes := `"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
		"vocab_size": 9, "type_vocab_size": 1, "image_size": 4, "patch_size": 2`
	distil := `"dim": 8, "n_heads": 2, "hidden_dim": 8, "vocab_size": 9, "max_position_embeddings": 5`
	for says, c := range map[string]struct {
		arch models.Architecture
		text string
	}{
		"pad_token_id is 4, want 0 to 3": {models.RoBERTaForMaskedLM(),
			`{` + sizes + `, "max_position_embeddings": 5, "pad_token_id": 4}`},
		"pad_token_id is -1": {models.RoBERTaForClassification(),
			`{` + sizes + `, "max_position_embeddings": 5, "pad_token_id": -1}`},
		"max_position_embeddings is 0": {models.RoBERTaForMaskedLM(), `{` + sizes + `}`},
		"tie_word_embeddings": {models.RoBERTaForMaskedLM(),
			`{` + sizes + `, "max_position_embeddings": 5, "tie_word_embeddings": false}`},
		"tie_word_embeddings is false": {models.BERTForPreTraining(),
			`{` + sizes + `, "max_position_embeddings": 5, "tie_word_embeddings": false}`},
		"n_layers is 0": {models.DistilBERTForMaskedLM(), `{` + distil + `}`},
		"n_layers is 1048576, want at most 4096": {models.DistilBERTForClassification(),
			`{` + distil + `, "n_layers": 1048576}`},
		"want a decoder tied": {models.DistilBERTForMaskedLM(),
			`{` + distil + `, "n_layers": 1, "tie_word_embeddings": false}`},
		"image_size 4 is not a multiple of patch_size 3": {models.DeiT(), `{` + sizes + `, "patch_size": 3}`},
		"hidden_size is 0": {models.DeiTWithTeacher(), `{` + sizes + `, "hidden_size": 0}`},
	} {
		config, err := c.arch.Parse([]byte(c.text))
		require.NoError(t, err)
		_, err = config.Spec()
		require.ErrorContains(t, err, says)
	}
	config, err := models.RoBERTaForMaskedLM().Parse([]byte(`{"pad_token_id": null}`))
	require.NoError(t, err)
	require.Equal(t, 1, config.(models.RoBERTaConfig).Pad)
}
