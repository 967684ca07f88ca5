package models

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// configName is the file that makes a directory a checkpoint.
const configName = "config.json"

// maxText bounds the files that are kept beside the weights.
const maxText = 64 << 20

// Open reads a checkpoint directory of Hugging Face: config.json and
// model.safetensors, single or sharded. Floats of any width are read as
// float32. With no architectures given, those of [Known] are tried.
//
// Tensors that are missing, left over or misshapen are all named in the error,
// as [github.com/otfuse/otfuse/graph.TensorError]; a weight that is NaN or infinite is named too.
func Open(dir string, archs ...Architecture) (*Model, error) {
	m, err := Link(dir, archs...)
	if err != nil {
		return nil, err
	}
	defer m.link.files.Close() // only read
	return m.Load()
}

// identify reads a directory's config.json and finds the architecture that it
// names.
func identify(dir string, archs []Architecture) (text []byte, arch Architecture, err error) {
	if text, err = os.ReadFile(filepath.Join(dir, configName)); err != nil {
		return nil, arch, fmt.Errorf("models: %w", err)
	}
	var said struct {
		Classes []string `json:"architectures"`
	}
	if err = json.Unmarshal(text, &said); err != nil {
		return nil, arch, fmt.Errorf("models: %s: %s: %w", dir, configName, err)
	}
	if arch, err = find(said.Classes, archs); err != nil {
		return nil, arch, fmt.Errorf("models: %s: %w", dir, err)
	}
	return text, arch, nil
}

// readFiles reads the small files beside the weights, such as tokenizers.
func readFiles(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	for _, e := range entries {
		if e.Name() == configName || isWeights(e.Name()) || !isKept(e) {
			continue
		}
		if out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
	}
	return out, nil
}

// isKept reports whether a file is a small text such as goes with a tokenizer.
func isKept(e fs.DirEntry) bool {
	info, err := e.Info()
	return err == nil && info.Mode().IsRegular() && info.Size() <= maxText &&
		slices.Contains([]string{".json", ".txt", ".md"}, filepath.Ext(e.Name()))
}
