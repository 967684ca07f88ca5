package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/otfuse/otfuse/models/safetensors"
)

// A stored tensor is one on disk.
type stored struct {
	name  string // in the files
	shape []int
}

// A link reads tensors when they are asked for. Its files are closed when the
// garbage collector finds it unreachable.
type link struct {
	dir     string
	files   *safetensors.Checkpoint
	tensors map[string]stored // by the names of the graph
}

// Link is [Open] without reading the tensors, so that a model takes next to no
// memory: names and shapes are checked, Params stays nil, and [Model.Tensor] reads
// one tensor at a time. A weight that is NaN or infinite is found when it is read.
//
// The files stay open as long as the model is reachable, and must not be changed
// meanwhile.
func Link(dir string, archs ...Architecture) (*Model, error) {
	text, arch, err := identify(dir, archs)
	if err != nil {
		return nil, err
	}
	l, err := newLink(dir, arch)
	if err != nil {
		return nil, err
	}
	m, err := arch.parse(text)
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", dir, err)
	}
	m.link = l
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("models: %s: %s: %w", dir, arch.Class, err)
	}
	if m.Files, err = readFiles(dir); err != nil {
		return nil, err
	}
	return m, nil
}

// newLink opens the tensors of a directory under the names that the graph has for
// them.
func newLink(dir string, arch Architecture) (*link, error) {
	f, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	l := &link{dir: dir, files: f, tensors: map[string]stored{}}
	for _, own := range f.Names() {
		if arch.ignores(own) {
			continue
		}
		name := own
		if alias, ok := arch.Aliases[name]; ok {
			name = alias
		}
		if other, ok := l.tensors[name]; ok {
			return nil, fmt.Errorf("models: %s: tensors %q and %q are the same parameter", dir, other.name, own)
		}
		_, shape, err := f.Info(own)
		if err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
		l.tensors[name] = stored{own, shape}
	}
	return l, nil
}

// ignores reports whether a tensor is a buffer and not a parameter.
func (a Architecture) ignores(tensor string) bool {
	return slices.ContainsFunc(a.Ignored, func(s string) bool {
		return tensor == s || strings.HasSuffix(tensor, "."+strings.TrimPrefix(s, "."))
	})
}

func (l *link) shapes() map[string][]int {
	out := make(map[string][]int, len(l.tensors))
	for name, t := range l.tensors {
		out[name] = t.shape
	}
	return out
}

// read returns the tensor of that name in the graph.
func (l *link) read(name string) (Tensor, error) {
	t, ok := l.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("models: %s: tensor %q: %w", l.dir, name, safetensors.ErrNoTensor)
	}
	raw, err := l.files.Tensor(t.name)
	if err != nil {
		return Tensor{}, fmt.Errorf("models: %w", err)
	}
	read, err := FromSafetensors(raw)
	if err != nil {
		return Tensor{}, fmt.Errorf("models: %s: tensor %q: %w", l.dir, t.name, err)
	}
	if i := notFinite(read.Data); i >= 0 {
		return Tensor{}, fmt.Errorf("models: %s: tensor %q is %v at position %d", l.dir, t.name, read.Data[i], i)
	}
	return read, nil
}

// Tensor returns a parameter. A linked model reads it from disk at every call.
func (m *Model) Tensor(name string) (Tensor, error) {
	switch {
	case m.Params == nil && m.link != nil:
		return m.link.read(name)
	case m.Params == nil:
		return Tensor{}, fmt.Errorf("models: tensor %q: %w", name, ErrNoParams)
	}
	t, ok := m.Params[name]
	if !ok {
		return t, fmt.Errorf("models: tensor %q: %w", name, safetensors.ErrNoTensor)
	}
	return t, nil
}

// Shapes returns the shape of every parameter, in memory or on disk.
func (m *Model) Shapes() map[string][]int {
	if m.Params == nil && m.link != nil {
		return m.link.shapes()
	}
	return m.Params.Shapes()
}

// Load returns m with all parameters in memory: m itself where they already are.
func (m *Model) Load() (*Model, error) {
	if m.Params != nil || m.link == nil {
		return m, nil
	}
	p := make(Params, len(m.link.tensors))
	for name := range m.link.tensors {
		var err error
		if p[name], err = m.link.read(name); err != nil {
			return nil, err
		}
	}
	return m.With(p), nil
}
