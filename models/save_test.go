package models_test

import (
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/models/safetensors"
)

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
	m.Files["vocab.txt"] = []byte("old")
	dir := saved(t, m)
	m.Files = map[string][]byte{"merges.txt": []byte("new")}
	require.NoError(t, m.Save(dir))
	got, err := models.Open(dir)
	require.NoError(t, err)
	require.Equal(t, m.Files, got.Files)
}

// TestSaveChecks: what is no checkpoint of the network is not written as one.
func TestSaveChecks(t *testing.T) {
	m := model(t, modeltest.ViT())
	dir := saved(t, m)
	for says, p := range map[string]models.Params{
		"no parameters in memory": nil,
		"is missing":              {},
		`"classifier.bias"`:       with(m.Params, "classifier.bias", models.Tensor{Shape: []int{3}, Data: []float32{1, 2}}),
		"has shape [4], want [3]": with(m.Params, "classifier.bias",
			models.Tensor{Shape: []int{4}, Data: make([]float32, 4)}),
		"belongs to no node": with(m.Params, "other", models.Tensor{Shape: []int{1}, Data: []float32{1}}),
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
// checkpoint is left as it is, and the error names the first such file.
func TestSaveKeepsForeignFiles(t *testing.T) {
	m := model(t, modeltest.ViT())
	write := func(name, text string) func(dir string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600) }
	}
	for name, change := range map[string]func(dir string) error{
		".git":                func(dir string) error { return os.Mkdir(filepath.Join(dir, ".git"), 0o755) },
		"vite.config.js":      write("vite.config.js", ""),
		"trainer.safetensors": write("trainer.safetensors", ""),
		"trainer_state.json":  write("trainer_state.json", "{}"),
		"all_results.json":    write("all_results.json", "{}"),
		"notes.md":            write("notes.md", "by hand"),
		"thesis.txt":          write("thesis.txt", "by hand"),
		"training_args.bin":   write("training_args.bin", ""),
		"config.json":         write("config.json", `{"port": 80}`),
		"tokenizer.json": func(dir string) error {
			return os.Symlink("/etc/hosts", filepath.Join(dir, "tokenizer.json"))
		},
		"vocab.txt":         func(dir string) error { return os.Mkdir(filepath.Join(dir, "vocab.txt"), 0o755) },
		"model.safetensors": func(dir string) error { return os.Chmod(filepath.Join(dir, "model.safetensors"), 0o444) },
	} {
		dir := saved(t, m)
		require.NoError(t, models.Replaceable(dir))
		require.NoError(t, change(dir))
		before := listed(t, dir)
		var refused *models.NotReplaceableError
		require.ErrorAs(t, models.Replaceable(dir), &refused)
		require.Equal(t, name, refused.File)
		require.Equal(t, dir, refused.Path)
		require.ErrorAs(t, m.Save(dir), &refused)
		require.ErrorContains(t, m.Save(dir), name)
		require.Equal(t, before, listed(t, dir))
	}
	require.NoError(t, models.Replaceable(t.TempDir()), "an empty directory")
	require.NoError(t, models.Replaceable(filepath.Join(t.TempDir(), "none")))
}

// TestSaveRefuses: what is no checkpoint as a whole, is protected, leads nowhere or is
// where one stands is refused before anything is written.
func TestSaveRefuses(t *testing.T) {
	m, tmp := model(t, modeltest.ViT()), t.TempDir()
	file, link := filepath.Join(tmp, "file"), filepath.Join(tmp, "link")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	require.NoError(t, os.Symlink(filepath.Join(tmp, "none"), link))
	protected, bare, elsewhere, here := saved(t, m), saved(t, m), saved(t, m), saved(t, m)
	require.NoError(t, os.Chmod(protected, 0o555))
	defer func() { require.NoError(t, os.Chmod(protected, 0o755)) }()
	require.NoError(t, os.Remove(filepath.Join(bare, "model.safetensors")))
	require.NoError(t, os.Remove(filepath.Join(elsewhere, "config.json")))
	t.Chdir(here)
	for path, says := range map[string]string{file: "is not a directory", link: "leads nowhere", bare: "has no weights",
		protected: "protected", elsewhere: "config.json", here: "current directory", ".": "current directory",
		filepath.Dir(here): "current directory"} {
		var refused *models.NotReplaceableError
		require.ErrorAs(t, m.Save(path), &refused, path)
		require.ErrorContains(t, refused, says)
		require.Empty(t, refused.File, path)
	}
	leads := filepath.Join(tmp, "leads")
	require.NoError(t, os.Symlink(saved(t, m), leads))
	require.NoError(t, m.Save(leads), "a link to a checkpoint")
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

// TestSaveShards: a checkpoint in shards, from memory and from a linked model, holds what
// the one file holds.
func TestSaveShards(t *testing.T) {
	m := model(t, modeltest.ViT())
	want, err := models.Open(saved(t, m))
	require.NoError(t, err)

	shards := filepath.Join(t.TempDir(), "shards")
	require.NoError(t, m.SaveShards(shards, 2048))
	files, err := filepath.Glob(filepath.Join(shards, "model-*-of-*.safetensors"))
	require.NoError(t, err)
	require.Greater(t, len(files), 2)
	require.NoFileExists(t, filepath.Join(shards, safetensors.SingleName))
	got, err := models.Open(shards)
	require.NoError(t, err)
	require.Equal(t, want.Params, got.Params)
	require.Equal(t, want.Files, got.Files)

	linked, err := models.Link(shards)
	require.NoError(t, err)
	again := filepath.Join(t.TempDir(), "again")
	require.NoError(t, linked.Save(again))
	single, err := os.ReadFile(filepath.Join(again, safetensors.SingleName))
	require.NoError(t, err)
	first, err := os.ReadFile(filepath.Join(saved(t, m), safetensors.SingleName))
	require.NoError(t, err)
	require.Equal(t, first, single, "byte for byte")

	require.NoError(t, linked.Save(shards), "over the files that it is read from")
	require.NoFileExists(t, files[0])
	require.Error(t, m.SaveShards(filepath.Join(t.TempDir(), "x"), -1))
}

// TestSaveRefusesWhatOpenWould: a value that is not finite, or not as it would be
// stored, leaves an older checkpoint as it was.
func TestSaveRefusesWhatOpenWould(t *testing.T) {
	m := model(t, modeltest.ViT())
	dir := saved(t, m)
	for _, c := range []struct {
		dtype safetensors.DType
		value float64
	}{{"", math.NaN()}, {safetensors.F32, math.Inf(-1)}, {safetensors.F16, 70000}, {safetensors.BF16, math.MaxFloat32}} {
		bad := m.With(maps.Clone(m.Params))
		old := m.Params["classifier.bias"]
		data := append([]float32{float32(c.value)}, old.Data[1:]...)
		bad.Params["classifier.bias"] = models.Tensor{DType: c.dtype, Shape: old.Shape, Data: data}
		err := bad.Save(dir)
		require.ErrorContains(t, err, `tensor "classifier.bias": value 0 is`, c.value)
		got, err := models.Open(dir)
		require.NoError(t, err)
		require.Equal(t, m.Params["classifier.bias"].Data, got.Params["classifier.bias"].Data)
	}
}
