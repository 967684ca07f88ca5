package safetensors

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// DefaultShardSize is the number of bytes of tensors beyond which a checkpoint is split
// into several files, 5 GB as in Hugging Face's libraries.
const DefaultShardSize = 5_000_000_000

// Info is what is known of a tensor before its elements are there.
type Info struct {
	DType DType
	Shape []int
}

// Writer writes the tensors of a checkpoint directory one at a time, in any order, so
// that no more than one of them need be in memory. Its files have their full size from
// the start. They are the same, byte for byte, whatever the order.
//
// Its methods may be called from several goroutines at once. A Writer is not atomic: the
// directory should be a new one that is renamed after Close.
type Writer struct {
	shards  []*os.File
	places  map[string]place
	mu      sync.Mutex
	missing map[string]bool
	first   error // of Write; Close repeats it
}

// place is where a tensor goes.
type place struct {
	shard  int
	offset int64 // from the start of the file
	info   Info
}

// Create makes the files of a checkpoint in an existing directory for tensors of the
// given types and shapes: model.safetensors, or shards of up to shardSize bytes of
// tensors with their index; a tensor that is larger gets a shard of its own. A shardSize
// of 0 is [DefaultShardSize]. The metadata are those of [Write].
func Create(dir string, tensors map[string]Info, metadata map[string]string, shardSize int64) (*Writer, error) {
	w := &Writer{places: map[string]place{}, missing: map[string]bool{}}
	if err := w.create(dir, tensors, metadata, cmp.Or(shardSize, DefaultShardSize)); err != nil {
		return nil, inFile("", errors.Join(err, w.close()))
	}
	return w, nil
}

func (w *Writer) create(dir string, tensors map[string]Info, metadata map[string]string, shardSize int64) error {
	parts, total, err := shards(tensors, shardSize)
	if err != nil {
		return err
	}
	index := index{Metadata: indexMetadata{TotalSize: total}, Map: map[string]string{}}
	for s, names := range parts {
		file := SingleName
		if len(parts) > 1 {
			file = fmt.Sprintf("model-%05d-of-%05d.safetensors", s+1, len(parts))
		}
		for _, name := range names {
			index.Map[name] = file
		}
		if err := w.createShard(filepath.Join(dir, file), names, tensors, metadata); err != nil {
			return err
		}
	}
	if len(parts) == 1 {
		return nil
	}
	text, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, IndexName), append(text, '\n'), 0o644)
}

// index is the text of model.safetensors.index.json.
type index struct {
	Metadata indexMetadata     `json:"metadata"`
	Map      map[string]string `json:"weight_map"`
}

type indexMetadata struct {
	TotalSize int64 `json:"total_size"`
}

// shards divides the names, sorted, into files of up to size bytes of tensors, at least
// one. It also returns the bytes of all tensors.
func shards(tensors map[string]Info, size int64) (parts [][]string, total int64, err error) {
	if size < 1 {
		return nil, 0, fmt.Errorf("shards of %d bytes", size)
	}
	var names []string
	var held int64
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		bytes, err := byteLen(tensors[name].DType, tensors[name].Shape)
		if err != nil {
			return nil, 0, malformed(name, "%v", err)
		}
		if held > 0 && bytes > size-held {
			parts, names, held = append(parts, names), nil, 0
		}
		names, held, total = append(names, name), held+bytes, total+bytes
		if total < 0 {
			return nil, 0, malformed(name, "the tensors together are too large")
		}
	}
	return append(parts, names), total, nil
}

// createShard makes one file with its header and with room for its tensors.
func (w *Writer) createShard(path string, names []string, tensors map[string]Info, metadata map[string]string) error {
	own := make(map[string]Info, len(names))
	for _, name := range names {
		own[name] = tensors[name]
	}
	stored := inOrder(own)
	head, offsets, err := encodeHeader(stored, own, metadata)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	w.shards = append(w.shards, f)
	if _, err := f.Write(head); err != nil {
		return err
	}
	begin := int64(len(head))
	for k, name := range stored {
		w.places[name] = place{len(w.shards) - 1, begin + offsets[k], own[name]}
		w.missing[name] = true
	}
	return f.Truncate(begin + offsets[len(stored)])
}

// Write writes one tensor. A name that was not announced, another type or shape than the
// one announced, and a tensor that was written before are errors.
func (w *Writer) Write(name string, t Tensor) error {
	err := inFile("", w.write(name, t))
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.first = cmp.Or(w.first, err)
	}
	return err
}

func (w *Writer) write(name string, t Tensor) error {
	to, ok := w.places[name]
	switch err := t.validate(); {
	case !ok:
		return fmt.Errorf("tensor %.200q: %w", name, ErrNoTensor)
	case err != nil:
		return malformed(name, "%v", err)
	case t.DType != to.info.DType || !slices.Equal(t.Shape, to.info.Shape):
		return malformed(name, "%s %v was announced as %s %v", t.DType, t.Shape, to.info.DType, to.info.Shape)
	}
	w.mu.Lock()
	first := w.missing[name]
	delete(w.missing, name)
	w.mu.Unlock()
	if !first {
		return malformed(name, "written twice")
	}
	if _, err := w.shards[to.shard].WriteAt(t.Data, to.offset); err != nil {
		return fmt.Errorf("tensor %.200q: %w", name, err)
	}
	return nil
}

// Close closes the files. It returns the first error of Write, and one that names a
// tensor that was announced and not written.
func (w *Writer) Close() error {
	err := w.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.first != nil:
		return w.first
	case err == nil && len(w.missing) > 0:
		name := slices.Min(slices.Collect(maps.Keys(w.missing)))
		err = malformed(name, "never written, like %d others", len(w.missing)-1)
	}
	return inFile("", err)
}

func (w *Writer) close() error {
	var all []error
	for _, f := range w.shards {
		all = append(all, f.Close())
	}
	w.shards = nil
	return errors.Join(all...)
}
