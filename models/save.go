package models

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models/safetensors"
)

// Save writes m as a checkpoint directory that Hugging Face's transformers loads.
// The directory appears as a whole or not at all. It may take the place of an older
// checkpoint, but of nothing else: see [Replaceable]. Tensors are stored in their
// DType, float64 as float32. What [Open] would refuse is not written: a value that is
// not finite, also because it is too large for the DType, is an error.
//
// The config.json that was read is written back byte for byte. Where the
// configuration was changed in Go, its keys are changed in that text and all others
// are kept.
//
// Checkpoints above [safetensors.DefaultShardSize] are split into several files, see
// [Model.SaveShards]. One tensor at a time is encoded, or read from disk where the model
// is linked, so that saving takes little memory.
func (m *Model) Save(dir string) error { return m.SaveShards(dir, 0) }

// SaveShards is [Model.Save] with files of up to shardSize bytes of tensors each; 0 means
// [safetensors.DefaultShardSize].
func (m *Model) SaveShards(dir string, shardSize int64) error {
	return m.SaveEach(dir, shardSize, func(put func(string, Tensor) error) error {
		for _, name := range slices.Sorted(maps.Keys(m.Shapes())) {
			t, err := m.Tensor(name)
			if err == nil {
				err = put(name, t)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// SaveEach is [Model.SaveShards] with other parameters than those of m, of the same names,
// shapes and DTypes: tensors makes them, one after the other in any order, and gives each
// to put once. So a model that is larger than the memory can be written while it is made.
func (m *Model) SaveEach(dir string, shardSize int64, tensors func(put func(name string, t Tensor) error) error) error {
	if shardSize < 0 {
		return fmt.Errorf("models: saving %s: shards of %d bytes", dir, shardSize)
	}
	if err := m.check(); err != nil {
		return fmt.Errorf("models: saving %s: %w", dir, err)
	}
	if err := Replaceable(dir); err != nil {
		return err
	}
	text, err := m.configText()
	if err != nil {
		return fmt.Errorf("models: saving %s: %w", dir, err)
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
		return m.writeTensors(tmp, shardSize, tensors)
	})
	if err != nil {
		return fmt.Errorf("models: saving %s: %w", dir, err)
	}
	return nil
}

// writeTensors writes the extra tensors and those that are made to files in dir.
func (m *Model) writeTensors(dir string, shardSize int64, tensors func(put func(string, Tensor) error) error) error {
	infos := make(map[string]safetensors.Info, len(m.Extra)+len(m.Params))
	for name, t := range m.Extra {
		infos[name] = safetensors.Info{DType: t.DType, Shape: t.Shape}
	}
	own := m.Shapes()
	for name, shape := range own {
		infos[name] = safetensors.Info{DType: storedAs(m.dtype(name)), Shape: shape}
	}
	w, err := safetensors.Create(dir, infos, map[string]string{"format": "pt"}, shardSize)
	if err != nil {
		return err
	}
	for name, t := range m.Extra {
		if _, ok := own[name]; !ok {
			err = errors.Join(err, w.Write(name, t))
		}
	}
	if err == nil {
		err = tensors(func(name string, t Tensor) error {
			encoded, err := encode(name, t)
			if err == nil {
				err = w.Write(name, encoded)
			}
			return err
		})
	}
	if closed := w.Close(); err == nil {
		err = closed
	}
	return err
}

// encode returns a parameter as it is stored on disk.
func encode(name string, t Tensor) (safetensors.Tensor, error) {
	out, err := t.ToSafetensors()
	if err == nil {
		err = t.checkStored(out)
	}
	if err != nil {
		return out, fmt.Errorf("tensor %q: %w", name, err)
	}
	return out, nil
}
