package models

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// configName is the file that makes a directory a checkpoint.
const configName = "config.json"

// maxText is the largest size in bytes of a file that is kept beside the weights.
const maxText = 64 << 20

// Open reads a checkpoint directory as Hugging Face writes it: config.json, and
// model.safetensors in one file or in shards. Floats of any width are held as
// float32. The architecture is found by its class among those given, or among
// [Known] where none are.
//
// The error names every tensor that is missing, left over or misshapen, each as a
// [*github.com/otfuse/otfuse/graph.TensorError], and the first weight that is NaN or
// infinite.
func Open(dir string, archs ...Architecture) (*Model, error) {
	m, err := Link(dir, archs...)
	if err != nil {
		return nil, err
	}
	defer m.link.files.Close() // only read
	return m.Load()
}

// identify reads the config.json of a directory and finds the architecture that it
// names.
func identify(dir string, archs []Architecture) (text []byte, arch Architecture, err error) {
	if text, err = os.ReadFile(filepath.Join(dir, configName)); err != nil {
		return nil, arch, fmt.Errorf("models: %w", err)
	}
	named, err := classesIn(text)
	if err == nil {
		arch, err = find(named, archs)
	}
	if err != nil {
		return nil, arch, fmt.Errorf("models: %s: %w", dir, err)
	}
	return text, arch, nil
}

// readFiles reads the small files beside the weights, such as those of a tokenizer.
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

// isKept reports whether a file is one that is kept beside the weights: a small
// text, such as the vocabulary of a tokenizer.
func isKept(e fs.DirEntry) bool {
	info, err := e.Info()
	return err == nil && info.Mode().IsRegular() && info.Size() <= maxText &&
		slices.Contains([]string{".json", ".txt", ".md"}, filepath.Ext(e.Name()))
}
