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
		for _, name := range slices.Sorted(maps.Keys(m.Params)) {
			if err := digest(h, name, m.Params[name].Data); err != nil {
				return "", err
			}
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
		if err := digest(h, name, b[name].Floats); err != nil {
			return err
		}
		if err := digest(h, fmt.Sprint(b[name].Shape), b[name].Ints); err != nil {
			return err
		}
	}
	return nil
}

// digest adds a name and values to a digest.
func digest(h hash.Hash, name string, values any) error {
	if _, err := io.WriteString(h, name); err != nil {
		return err
	}
	return binary.Write(h, binary.LittleEndian, values)
}
