package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// SingleName is the file of a checkpoint that is not sharded.
	SingleName = "model.safetensors"
	// IndexName is the file that says which shard holds which tensor.
	IndexName = "model.safetensors.index.json"
)

// Checkpoint is an open checkpoint directory, whose tensors are in one file or in
// several. Its methods may be called from several goroutines at once.
type Checkpoint struct {
	path   string
	shards map[string]*File // by file name
	where  map[string]*File // by tensor
}

// OpenDir opens a checkpoint directory: [SingleName] if it is there, else the
// shards that [IndexName] lists. Every header is read and checked. Of the shards the
// tensors are taken that the index lists; a tensor that it lists and its shard lacks is
// looked for in the others, and may be absent. The caller closes the checkpoint.
func OpenDir(dir string) (*Checkpoint, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	c := &Checkpoint{path: dir, shards: map[string]*File{}, where: map[string]*File{}}
	f, err := Open(filepath.Join(dir, SingleName))
	if err == nil {
		c.shards[SingleName] = f
		for name := range f.entries {
			c.where[name] = f
		}
		return c, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	index := filepath.Join(dir, IndexName)
	weights, err := readIndex(index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("safetensors: %s: neither %s nor %s%s: %w", dir, SingleName, IndexName, otherWeights(dir),
			fs.ErrNotExist)
	}
	if err != nil {
		return nil, inFile(index, err)
	}
	if err := c.openShards(index, weights); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// otherWeights says which weights of another format a directory holds, if any.
func otherWeights(dir string) string {
	patterns := []string{"pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "tf_model.h5", "*.msgpack", "*.gguf"}
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return fmt.Sprintf(", but %s is there, which is of another format", filepath.Base(found[0]))
		}
	}
	return ""
}

// Names returns the names of the tensors, sorted.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.where)) }

// Info returns the dtype and shape of a tensor without reading it.
func (c *Checkpoint) Info(name string) (DType, []int, error) {
	f, err := c.lookup(name)
	if err != nil {
		return "", nil, err
	}
	return f.Info(name)
}

// Tensor reads a tensor. The result is the caller's own.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	f, err := c.lookup(name)
	if err != nil {
		return Tensor{}, err
	}
	return f.Tensor(name)
}

// Close releases all files.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.shards)) {
		errs = append(errs, c.shards[name].Close())
	}
	return errors.Join(errs...)
}

// lookup returns the file that holds a tensor.
func (c *Checkpoint) lookup(name string) (*File, error) {
	f, ok := c.where[name]
	if !ok {
		return nil, inFile(c.path, fmt.Errorf("tensor %.200q: %w", name, ErrNoTensor))
	}
	return f, nil
}

// openShards opens the shards that weights (tensor to shard) names and takes from
// each the tensors that it lists.
func (c *Checkpoint) openShards(index string, weights map[string]string) error {
	shards := slices.Compact(slices.Sorted(maps.Values(weights)))
	var missing []string
	for _, shard := range shards {
		f, err := Open(filepath.Join(c.path, shard))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, shard)
		case err != nil:
			return err
		default:
			c.shards[shard] = f
		}
	}
	if len(missing) > 0 {
		return &FormatError{Path: index, Msg: "missing shards: " + summarise(missing)}
	}
	for name, shard := range weights {
		if f := c.shards[shard]; f.holds(name) {
			c.where[name] = f
			continue
		}
		for _, other := range shards { // the index may be of an earlier sharding
			if f := c.shards[other]; f.holds(name) {
				c.where[name] = f
			}
		}
	}
	return nil
}

// summarise lists the first eight names and counts the rest.
func summarise(names []string) string {
	const most = 8
	if extra := len(names) - most; extra > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), extra)
	}
	return strings.Join(names, ", ")
}

// readIndex returns the shard of every tensor.
func readIndex(path string) (map[string]string, error) {
	path = Follow(path)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, malformed("", "not a regular file")
	case info.Size() > maxHeader:
		return nil, malformed("", "%d bytes, more than %d", info.Size(), maxHeader)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if kind := Describe(text); kind != "" {
		return nil, malformed("", "it is %s", kind)
	}
	return parseIndex(text)
}

// parseIndex reads which shard holds which tensor.
func parseIndex(text []byte) (map[string]string, error) {
	r, err := newJSONReader(text)
	if err != nil {
		return nil, malformed("", "%v", err)
	}
	weights := map[string]string{}
	err = r.object(func(key string) error {
		if key != "weight_map" {
			return r.skipValue()
		}
		if err := r.stringMap(weights); err != nil {
			return fmt.Errorf("weight_map: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, malformed("", "%v", err)
	}
	if len(weights) == 0 {
		return nil, malformed("", "weight_map is missing or empty")
	}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		shard := weights[name]
		if !filepath.IsLocal(shard) || shard == "." || strings.ContainsAny(shard, `/\:`) || strings.ContainsRune(shard, 0) {
			return nil, malformed(name, "shard %.200q is not the name of a file in this directory", shard)
		}
	}
	return weights, nil
}
