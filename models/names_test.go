package models_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

// rename writes the tensors of a model under other names to a new directory.
func rename(t *testing.T, m *models.Model, name func(string) string, more map[string]safetensors.Tensor) string {
	dir := saved(t, m)
	ts := maps.Clone(more)
	if ts == nil {
		ts = map[string]safetensors.Tensor{}
	}
	for own, x := range read(t, dir) {
		ts[name(own)] = x
	}
	write(t, dir, ts)
	return dir
}

// tensor returns a tensor of floats of one axis.
func tensor(t *testing.T, values ...float32) safetensors.Tensor {
	x, err := safetensors.FromFloat32(safetensors.F32, []int{len(values)}, values)
	require.NoError(t, err)
	return x
}

func replaced(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }

func behind(prefix string) func(string) string { return func(s string) string { return prefix + s } }

// TestNames: the names that a checkpoint may have for tensors give the same model.
func TestNames(t *testing.T) {
	type renaming = map[string]func(string) string
	everywhere := renaming{"module": behind("module."), "compiled": behind("_orig_mod."), "lightning": behind("model."),
		"both": behind("module._orig_mod."), "of the program": behind("net.0.backbone.")}
	berts := renaming{
		"gamma and beta": replaced("LayerNorm.weight", "LayerNorm.gamma", "LayerNorm.bias", "LayerNorm.beta"),
		"no prefix":      replaced("bert.", ""),
		"bert twice":     behind("bert."),
		"all": func(s string) string {
			return "module." + replaced("Norm.weight", "Norm.gamma", "Norm.bias", "Norm.beta", "bert.", "")(s)
		},
	}
	vits := renaming{
		"no prefix": replaced("vit.", ""),
		"version 5": replaced("encoder.layer.", "layers.", "attention.attention.query", "attention.q_proj",
			"attention.attention.key", "attention.k_proj", "attention.attention.value", "attention.v_proj",
			"attention.output.dense", "attention.o_proj", "intermediate.dense", "mlp.fc1", "output.dense", "mlp.fc2"),
	}
	for _, c := range []struct {
		net   modeltest.Net
		names renaming
	}{
		{modeltest.MaskedLM(), berts}, {modeltest.Classifier(), berts}, {modeltest.ViT(), vits}, {modeltest.SimpleViT(), nil},
	} {
		for _, names := range []renaming{everywhere, c.names} {
			for what, name := range names {
				t.Run(c.net.Arch.Class+"/"+what, func(t *testing.T) {
					m := model(t, c.net)
					got, err := models.Open(rename(t, m, name, nil))
					require.NoError(t, err)
					require.Empty(t, got.Extra)
					for name, p := range m.Params {
						require.Equal(t, p.Data, got.Params[name].Data, name)
					}
					require.Len(t, got.Params, len(m.Params))
				})
			}
		}
	}
}

// TestNamesOfFamilies: so it is for all architectures.
func TestNamesOfFamilies(t *testing.T) {
	for _, f := range families() {
		m, err := modeltest.Random(f.arch, f.config, 1)
		require.NoError(t, err)
		m = typed(m, safetensors.F32)
		for what, name := range map[string]func(string) string{"module": behind("module."),
			"bare": replaced(f.arch.Prefix, ""), "gamma": replaced("orm.weight", "orm.gamma", "orm.bias", "orm.beta")} {
			got, err := models.Open(rename(t, m, name, map[string]safetensors.Tensor{"other.head": tensor(t, 1)}))
			require.NoError(t, err, f.arch.Class+" "+what)
			require.Equal(t, m.Params, got.Params)
			require.Len(t, got.Extra, 1)
		}
	}
}

// TestExtraTensors: heads and buffers of other classes are passed over and saved
// again; a tensor that is tied is not, since it would contradict the fused one.
func TestExtraTensors(t *testing.T) {
	ids, err := safetensors.FromInt64([]int{1, 2}, []int64{0, 1})
	require.NoError(t, err)
	x := tensor(t, 1, 2)
	for _, c := range []struct {
		net         modeltest.Net
		name        func(string) string
		extra, tied []string
		kept        []string
	}{
		{modeltest.MaskedLM(), behind(""),
			[]string{"bert.pooler.dense.weight", "cls.seq_relationship.bias", "qa_outputs.weight",
				"bert.embeddings.position_ids"},
			[]string{"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}, nil},
		{modeltest.MaskedLM(), replaced("bert.", ""), []string{"pooler.dense.weight", "cls.seq_relationship.bias"}, nil,
			[]string{"bert.pooler.dense.weight", "cls.seq_relationship.bias"}},
		{modeltest.MaskedLM(), behind("module."), []string{"module.bert.pooler.dense.weight"}, nil,
			[]string{"bert.pooler.dense.weight"}},
		{modeltest.Classifier(), behind(""), []string{"cls.predictions.transform.LayerNorm.gamma",
			"bert.embeddings.token_type_ids"}, nil,
			[]string{"cls.predictions.transform.LayerNorm.weight", "bert.embeddings.token_type_ids"}},
		{modeltest.ViT(), behind(""), []string{"vit.pooler.dense.weight", "vit.embeddings.mask_token", "decoder.0.weight"},
			nil, nil},
	} {
		m, more := model(t, c.net), map[string]safetensors.Tensor{}
		for _, name := range append(slices.Clone(c.extra), c.tied...) {
			more[name] = x
			if strings.HasSuffix(name, "_ids") {
				more[name] = ids
			}
		}
		got, err := models.Open(rename(t, m, c.name, more))
		require.NoError(t, err)
		require.Len(t, got.Params, len(m.Params))
		want := c.kept
		if want == nil {
			want = c.extra
		}
		require.ElementsMatch(t, want, slices.Collect(maps.Keys(got.Extra)))
		fused := got.With(got.Params) // what is computed from a model keeps them
		again := read(t, saved(t, fused))
		require.Len(t, again, len(m.Params)+len(want))
		for name, tensor := range got.Extra {
			require.Equal(t, tensor, again[name], name)
		}
	}
}

// TestTiedAlone: a tied tensor that is stored under its second name alone is found.
func TestTiedAlone(t *testing.T) {
	m := typed(model(t, modeltest.MaskedLM()), safetensors.F32)
	got, err := models.Open(rename(t, m, replaced("cls.predictions.bias", "cls.predictions.decoder.bias",
		"bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"), nil))
	require.NoError(t, err)
	require.Equal(t, m.Params, got.Params)
}

// TestContradictions: tensors within the network that the configuration does not
// account for would change what it computes.
func TestContradictions(t *testing.T) {
	for net, names := range map[*modeltest.Net][]string{
		new(modeltest.ViT()): {"vit.encoder.layer.7.output.dense.bias", "vit.embeddings.register_tokens",
			"classifier.scale"},
		new(modeltest.SimpleViT()): {"register_tokens", "transformer.layers.7.0.norm.bias"},
		new(modeltest.MaskedLM()):  {"bert.encoder.layer.0.attention.self.distance_embedding.weight"},
	} {
		for _, name := range names {
			more := map[string]safetensors.Tensor{name: tensor(t, 1)}
			_, err := models.Open(rename(t, model(t, *net), behind(""), more))
			require.ErrorContains(t, err, name)
		}
	}
	m := model(t, modeltest.ViT())
	dir := rename(t, m, behind("student."), nil)
	ts := read(t, dir)
	for name, x := range maps.Clone(ts) {
		ts[strings.Replace(name, "student", "teacher", 1)] = x
	}
	write(t, dir, ts)
	_, err := models.Open(dir)
	require.ErrorContains(t, err, "two networks")
}

// TestManyThatDoNotFit: the text names the first of many tensors and counts the rest.
func TestManyThatDoNotFit(t *testing.T) {
	_, err := models.Open(rename(t, model(t, modeltest.ViT()), replaced("encoder", "decoder"), nil))
	require.ErrorContains(t, err, "more")
	require.Less(t, len(err.Error()), 1000)
}

// TestClassByTensors: where config.json names no class the tensors do, and what is
// saved names it.
func TestClassByTensors(t *testing.T) {
	nets := []modeltest.Net{modeltest.MaskedLM(), modeltest.Classifier(), modeltest.ViT(), modeltest.SimpleViT()}
	for _, net := range nets {
		for i, change := range []func(c map[string]any){
			func(c map[string]any) { delete(c, "architectures") },
			func(c map[string]any) { c["architectures"] = nil },
			func(c map[string]any) { c["architectures"] = []string{} },
			func(c map[string]any) { delete(c, "architectures"); delete(c, "model_type") },
			func(c map[string]any) { c["architectures"] = net.Arch.Class },
		} {
			m := typed(model(t, net), safetensors.F32)
			dir := saved(t, m)
			configure(t, dir, change)
			got, err := models.Open(dir)
			require.NoError(t, err, fmt.Sprint(net.Arch.Class, i))
			require.Equal(t, net.Arch.Class, got.Arch.Class)
			require.Equal(t, m.Params, got.Params)
			again, err := models.Open(saved(t, got), net.Arch)
			require.NoError(t, err)
			require.Equal(t, m.Config, again.Config)
		}
	}
	dir := saved(t, model(t, modeltest.ViT()))
	configure(t, dir, func(c map[string]any) { delete(c, "architectures"); c["model_type"] = "bert" })
	_, err := models.Open(dir)
	require.ErrorIs(t, err, models.ErrArchitecture)
}

// configure changes the config.json of a directory.
func configure(t *testing.T, dir string, change func(map[string]any)) {
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var c map[string]any
	require.NoError(t, json.Unmarshal(text, &c))
	change(c)
	text, err = json.Marshal(c)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o644))
}

// TestLinkedFiles: a directory whose files are links, as in Hugging Face's cache, is
// that of the files.
func TestLinkedFiles(t *testing.T) {
	m := typed(model(t, modeltest.MaskedLM()), safetensors.F32)
	m.Files["vocab.txt"], m.Files["README.md"] = []byte("[PAD]\n"), []byte("card")
	blobs, snapshot := saved(t, m), t.TempDir()
	entries, err := os.ReadDir(blobs)
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Symlink(filepath.Join(blobs, e.Name()), filepath.Join(snapshot, e.Name())))
	}
	got, err := models.Open(snapshot)
	require.NoError(t, err)
	require.Equal(t, m.Files, got.Files)
	require.Equal(t, m.Params, got.Params)
	require.NoError(t, os.Symlink(filepath.Join(blobs, "gone"), filepath.Join(snapshot, "tokenizer.json")))
	_, err = models.Open(snapshot)
	require.ErrorContains(t, err, "tokenizer.json")

	// The same cache, copied by a program that writes links as texts.
	cache := t.TempDir()
	flat := filepath.Join(cache, "snapshots", "0123")
	require.NoError(t, os.MkdirAll(flat, 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(cache, "blobs"), 0o755))
	for i, e := range entries {
		blob := fmt.Sprintf("../../blobs/%064x", i)
		require.NoError(t, os.WriteFile(filepath.Join(flat, e.Name()), []byte(blob), 0o644))
		require.NoError(t, os.Rename(filepath.Join(blobs, e.Name()), filepath.Join(flat, blob)))
	}
	got, err = models.Open(flat)
	require.NoError(t, err)
	require.Equal(t, m.Files, got.Files)
	require.Equal(t, m.Params, got.Params)
	require.NoError(t, os.RemoveAll(filepath.Join(cache, "blobs")))
	_, err = models.Open(flat)
	require.ErrorContains(t, err, "a link of Hugging Face's cache")
}

// TestConfigIsAPointer: a config.json that is something else is called what it is.
func TestConfigIsAPointer(t *testing.T) {
	dir := saved(t, model(t, modeltest.ViT()))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"),
		[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"), 0o644))
	_, err := models.Open(dir)
	require.ErrorContains(t, err, "Git LFS pointer")
	require.NotContains(t, err.Error(), "\n")
}
