package models

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models/safetensors"
)

// configName is the file that makes a directory a checkpoint.
const configName = "config.json"

// maxText bounds the files that are kept beside the weights.
const maxText = 64 << 20

// ErrArchitecture reports a checkpoint of a class that is not known.
var ErrArchitecture = errors.New("unknown architecture")

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

// identify reads what the configuration says.
func identify(dir string, archs []Architecture) (Config, Architecture, error) {
	text, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		return Config{}, Architecture{}, fmt.Errorf("models: %w", err)
	}
	c, err := ParseConfig(text)
	if err != nil {
		return c, Architecture{}, fmt.Errorf("%s: %w", dir, err)
	}
	arch, err := Find(c, archs...)
	if err != nil {
		return c, arch, fmt.Errorf("models: %s: %w", dir, err)
	}
	return c, arch, nil
}

// Find returns the architecture that a configuration names, among those of this
// package where none are given; else [ErrArchitecture].
func Find(c Config, archs ...Architecture) (Architecture, error) {
	if len(archs) == 0 {
		archs = Known()
	}
	var known []string
	for _, a := range archs {
		if slices.Contains(c.Architectures, a.Class) {
			return a, nil
		}
		known = append(known, a.Class)
	}
	return Architecture{}, fmt.Errorf("%w: config.json names %q, known are %s", ErrArchitecture, c.Architectures, strings.Join(known, ", "))
}

// readFiles reads the small files beside the weights, such as tokenizers.
func readFiles(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxText || e.Name() == configName ||
			e.Name() == safetensors.IndexName || ext != ".json" && ext != ".txt" && ext != ".md" {
			continue
		}
		if out[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
	}
	return out, nil
}

// Save writes m as a checkpoint directory that Hugging Face's transformers
// loads. The directory appears whole or not at all; it may replace an older
// checkpoint, never another directory. Tensors are stored in their DType,
// float64 as float32.
func (m *Model) Save(dir string) error {
	text, err := m.Config.JSON()
	if err != nil {
		return fmt.Errorf("models: %w", err)
	}
	if m, err = m.Load(); err != nil {
		return err
	}
	ts := map[string]safetensors.Tensor{}
	for name, t := range m.Params {
		dtype := t.DType
		if dtype == "" || dtype == safetensors.F64 {
			dtype = safetensors.F32
		}
		if ts[name], err = safetensors.FromFloat32(dtype, t.Shape, t.Data); err != nil {
			return fmt.Errorf("models: tensor %q: %w", name, err)
		}
	}
	err = atomicfile.WriteDir(dir, configName, func(tmp string) error {
		files := map[string][]byte{configName: text}
		for name, data := range m.Files {
			if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) ||
				name == configName || name == safetensors.SingleName || name == safetensors.IndexName {
				return fmt.Errorf("file name %q: %w", name, fs.ErrInvalid)
			}
			files[name] = data
		}
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(tmp, name), data, 0o644); err != nil {
				return err
			}
		}
		return safetensors.WriteFile(filepath.Join(tmp, safetensors.SingleName), ts, map[string]string{"format": "pt"})
	})
	if err != nil {
		return fmt.Errorf("models: saving %s: %w", dir, err)
	}
	return nil
}
