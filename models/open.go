package models

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/otfuse/otfuse/internal/bounded"
	"github.com/otfuse/otfuse/models/safetensors"
)

// configName is the file that makes a directory a checkpoint.
const configName = "config.json"

// Limits on what lies beside the weights, in bytes.
const (
	maxText   = 64 << 20  // of a file that is kept
	maxTexts  = 256 << 20 // of all of them
	maxConfig = 16 << 20  // of config.json; the names of 21,000 classes take one
)

// Open reads a checkpoint directory as Hugging Face writes it: config.json, and
// model.safetensors in one file or in shards. Floats of any width are held as
// float32. The architecture is found by its class among those given, or among
// [Known] where none are; by its tensors where config.json names no class.
//
// Names of tensors are understood as transformers understands them: with and without
// the prefix of the encoder or that of a wrapper such as "module.", as older and newer
// versions have them. Heads and buffers of other classes are kept in Extra.
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

// readConfig reads the config.json of a directory.
func readConfig(dir string) ([]byte, error) {
	text, err := bounded.ReadFile(safetensors.Follow(filepath.Join(dir, configName)), maxConfig)
	if err != nil {
		return nil, err
	}
	if kind := safetensors.Describe(text); kind != "" {
		return nil, fmt.Errorf("%s: it is %s", filepath.Join(dir, configName), kind)
	}
	return text, nil
}

// identify returns the model of the architecture that the text of a config.json
// names. Where it names none, the tensors tell: of the architectures of its
// model_type, which may be missing too, it is the one that reads most of them and
// lacks none.
func identify(text []byte, files *safetensors.Checkpoint, archs []Architecture) (*Model, error) {
	named, err := classesIn(text)
	if err != nil {
		return nil, err
	}
	arch, unknown := find(named, archs)
	if unknown == nil {
		return arch.linked(text, files)
	}
	if len(named) > 0 {
		return nil, unknown
	}
	kind, err := typeIn(text)
	if err != nil {
		return nil, err
	}
	if len(archs) == 0 {
		archs = Known()
	}
	var best *Model
	for _, a := range archs {
		if kind != "" && kind != a.Type {
			continue
		}
		m, err := a.linked(text, files)
		if err == nil && (best == nil || len(m.link.names.params) > len(best.link.names.params)) {
			best = m
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w, and the tensors are of none of them (model_type %q)", unknown, kind)
	}
	return best, nil
}

// readFiles reads the small files beside the weights, such as those of a tokenizer.
func readFiles(dir string) (map[string][]byte, error) {
	out, sum := map[string][]byte{}, int64(0)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !isKept(e.Name()) {
			continue
		}
		path := safetensors.Follow(filepath.Join(dir, e.Name()))
		info, err := os.Stat(path) // follows links: Hugging Face's cache consists of them
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() || info.Size() > maxText {
			continue
		}
		if sum += info.Size(); sum > maxTexts {
			return nil, fmt.Errorf("the files beside the weights take more than %d MB, as far as %s", maxTexts>>20, e.Name())
		}
		if out[e.Name()], err = bounded.ReadFile(path, maxText); err != nil {
			return nil, err
		}
	}
	return out, nil
}
