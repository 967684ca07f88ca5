package lab

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/otfuse/otfuse/models"
)

// fingerprint says what a training is of: its data in words, and a digest of what it
// starts from, of its teachers and of its first batch. The first batch depends on the seed, the order
// of the samples and all that is done to them.
func (t training) fingerprint() (string, error) {
	start, err := t.trainer.Model()
	if err != nil {
		return "", err
	}
	batch, err := t.batches(0)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, m := range slices.Concat([]*models.Model{start}, t.teachers) {
		of, err := m.Digest()
		if err != nil {
			return "", err
		}
		if _, err := io.WriteString(h, of); err != nil {
			return "", err
		}
	}
	if err := digestBatch(h, batch); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (digest %x)", t.data, h.Sum(nil)[:8]), nil
}

// Digest tells samples from others.
func Digest(b models.Batch) (string, error) {
	h := sha256.New()
	err := digestBatch(h, b)
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), err
}

// digestBatch adds the arrays of a batch to a digest.
func digestBatch(h hash.Hash, b models.Batch) error {
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if _, err := fmt.Fprint(h, name, b[name].Shape); err != nil {
			return err
		}
		for _, values := range []any{b[name].Floats, b[name].Ints} {
			if err := binary.Write(h, binary.LittleEndian, values); err != nil {
				return err
			}
		}
	}
	return nil
}
