package models

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models/safetensors"
)

// Save writes m as a checkpoint directory that Hugging Face's transformers
// loads. The directory appears whole or not at all; it may replace an older
// checkpoint, never another directory. Tensors are stored in their DType,
// float64 as float32. A configuration that was changed in Go is saved as
// changed; all else of the config.json that was read is kept.
func (m *Model) Save(dir string) error {
	m, err := m.Load()
	if err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return fmt.Errorf("models: saving %s: %w", dir, err)
	}
	text, err := m.configText()
	if err != nil {
		return fmt.Errorf("models: saving %s: %w", dir, err)
	}
	ts := map[string]safetensors.Tensor{}
	for name, t := range m.Params {
		if ts[name], err = t.ToSafetensors(); err != nil {
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
