package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/safetensors"
)

// tree returns all that lies in a directory: texts of files, targets of links, by path.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		require.NoError(t, err)
		what := info.Mode().String() + info.ModTime().String()
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			require.NoError(t, err)
			what += target
		case e.Type().IsRegular():
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			what += string(text)
		}
		out[path] = what
		return nil
	}))
	return out
}

// TestFoldersOfOthers: where -out names a folder that is in use, nothing in it changes,
// and what is refused is refused before any work.
func TestFoldersOfOthers(t *testing.T) {
	a, b := parent(t, 1, tiny()), parent(t, 2, tiny())
	put := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			path := filepath.Join(dir, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		}
		return dir
	}
	weights, err := os.ReadFile(filepath.Join(a, safetensors.SingleName))
	require.NoError(t, err)
	settings, err := os.ReadFile(filepath.Join(a, "config.json"))
	require.NoError(t, err)
	checkpoint := func(more map[string]string) string {
		files := maps.Clone(more)
		files["config.json"], files[safetensors.SingleName] = string(settings), string(weights)
		return put(files)
	}
	inside := filepath.Join(b, "fused")
	linked := filepath.Join(t.TempDir(), "link")
	clone := checkpoint(map[string]string{".git/HEAD": "ref: refs/heads/main"})
	require.NoError(t, os.Symlink(clone, linked))
	for form, out := range map[string]string{
		"what Trainer leaves": checkpoint(map[string]string{"checkpoint-500/optimizer.pt": "days of work",
			"trainer_state.json": "{}", "src/train.py": "import torch", ".git/HEAD": "ref"}),
		"another program":                put(map[string]string{"config.json": `{"port": 8080}`, "database.sqlite": "rows"}),
		"a clone, by link":               linked,
		"a checkpoint with a file by us": checkpoint(map[string]string{"notes.txt": "mine"}),
		"texts alone":                    put(map[string]string{"thesis.tex": "years of work"}),
		"a folder with config.json":      put(map[string]string{"config.json/readme": "a folder"}),
		"a file":                         filepath.Join(put(map[string]string{"file": "mine"}), "file"),
		"the anchor":                     a,
		"the other":                      b,
		"inside an input":                inside,
		"around an input":                filepath.Dir(a),
		"the current directory":          ".",
	} {
		t.Run(form, func(t *testing.T) {
			here := put(map[string]string{"config.json": string(settings), safetensors.SingleName: string(weights)})
			t.Chdir(here)
			watched := []string{a, b, here, clone}
			if out != inside && out != "." {
				watched = append(watched, out)
			}
			var before []map[string]string
			for _, dir := range watched {
				before = append(before, tree(t, dir))
			}
			require.Error(t, program(t, "-out", out, "-config", config(t, `{"method": "vanilla"}`), a, b))
			for k, dir := range watched {
				require.Equal(t, before[k], tree(t, dir))
			}
			require.NoDirExists(t, inside)
		})
	}
}
