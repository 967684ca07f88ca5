package models

import (
	"errors"
	"fmt"

	"github.com/otfuse/otfuse/models/safetensors"
)

// A link reads tensors when they are asked for, or makes them. Its files are closed when
// the garbage collector finds it unreachable.
type link struct {
	dir      string
	files    *safetensors.Checkpoint
	names    naming
	replaced Params // in place of those on disk: see [Model.Replace]

	// Of a model that was made by [Model.Computed]: whose names, shapes and types it has,
	// and what makes its tensors. There are no files then.
	like    *Model
	compute func(name string) (Tensor, error)
}

// Computed returns a copy of m with other parameters of the same names and shapes, which
// are not held in memory: tensor makes one whenever it is asked for, of the DType that it
// has in m, and may be called by several goroutines at once. See [Model.Tensor] and
// [Model.Load].
func (m *Model) Computed(tensor func(name string) (Tensor, error)) *Model {
	c := *m
	c.Params, c.link = nil, &link{like: m, compute: tensor}
	return &c
}

// Outline returns a model of which names and shapes are known and no parameters: any that
// is asked for is [ErrNoParams]. They would be saved as dtype. With [Model.Computed] it
// becomes a model whose parameters are drawn, or received, one by one.
func Outline(arch Architecture, c Config, dtype safetensors.DType) (*Model, error) {
	m, err := arch.bind(c)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	shapes := Params{}
	for _, p := range m.Graph.Params() {
		shapes[p.Name] = Tensor{DType: dtype, Shape: p.Full()}
	}
	return m.With(shapes).Computed(func(name string) (Tensor, error) {
		return Tensor{}, fmt.Errorf("models: tensor %q of an outline: %w", name, ErrNoParams)
	}), nil
}

// Link is [Open] without reading the tensors, so that a model takes next to no
// memory: names and shapes are checked, Params stays nil, and [Model.Tensor] reads
// one tensor at a time. A weight that is NaN or infinite is found when it is read.
//
// The files stay open as long as the model is reachable, and must not be changed
// meanwhile.
func Link(dir string, archs ...Architecture) (*Model, error) {
	text, err := readConfig(dir)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	files, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	m, err := identify(text, files, archs)
	if err == nil {
		m.link.dir = dir
		err = m.readExtra()
	}
	if err == nil {
		m.Files, err = readFiles(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("models: %s: %w", dir, err), files.Close())
	}
	return m, nil
}

// A poolable configuration is of a class that comes with a pooler and without, which
// config.json does not tell.
type poolable interface{ withPooler() Config }

// linked returns the model of the text of a config.json and of tensors on disk.
func (a Architecture) linked(text []byte, files *safetensors.Checkpoint) (*Model, error) {
	m, err := a.parse(text)
	if err != nil {
		return nil, err
	}
	if c, ok := m.Config.(poolable); ok {
		if with, err := a.bind(c.withPooler()); err == nil {
			with.text = text
			if with, err = with.linkedTo(files); err == nil {
				return with, nil
			}
		}
	}
	return m.linkedTo(files)
}

// linkedTo returns m with tensors on disk.
func (m *Model) linkedTo(files *safetensors.Checkpoint) (*Model, error) {
	a := m.Arch
	names, err := a.named(m.Graph, files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Class, err)
	}
	m.link = &link{files: files, names: names}
	if err := m.check(); err != nil {
		for _, own := range names.extra { // one of them may be what is missing, under another name
			m.link.names.left = append(m.link.names.left, own)
		}
		return nil, fmt.Errorf("%s: %w", a.Class, short(m.Graph.Check(m.Shapes())))
	}
	return m, nil
}

// readExtra reads the tensors that the network does not read.
func (m *Model) readExtra() error {
	for name, own := range m.link.names.extra {
		t, err := m.link.files.Tensor(own)
		if err != nil {
			return err
		}
		if m.Extra == nil {
			m.Extra = map[string]safetensors.Tensor{}
		}
		m.Extra[name] = t
	}
	return nil
}

// shapes returns the shapes of all tensors but the extra ones. Those that contradict
// the graph are among them, so that checking the shapes names them.
func (l *link) shapes() map[string][]int {
	if l.like != nil {
		return l.like.Shapes()
	}
	out := make(map[string][]int, len(l.names.params))
	for name, own := range l.names.params {
		_, out[name], _ = l.files.Info(own) // the name is one of the files'
	}
	for _, own := range l.names.left {
		_, out[own], _ = l.files.Info(own)
	}
	return out
}

// DType returns the type that a parameter is saved as.
func (m *Model) DType(name string) safetensors.DType { return storedAs(m.dtype(name)) }

// dtype returns the type of a parameter on disk, or of what replaces it.
func (m *Model) dtype(name string) safetensors.DType {
	if m.Params != nil || m.link == nil {
		return m.Params[name].DType
	}
	if t, ok := m.link.replaced[name]; ok {
		return t.DType
	}
	if m.link.like != nil {
		return m.link.like.dtype(name)
	}
	dtype, _, _ := m.link.files.Info(m.link.names.params[name]) // check found it there
	return dtype
}

// read returns the tensor of that name in the graph.
func (l *link) read(name string) (Tensor, error) {
	if t, ok := l.replaced[name]; ok {
		return t, nil
	}
	if l.like != nil {
		t, err := l.compute(name)
		t.DType = l.like.dtype(name)
		return t, err
	}
	own, ok := l.names.params[name]
	if !ok {
		return Tensor{}, fmt.Errorf("models: %s: tensor %q: %w", l.dir, name, safetensors.ErrNoTensor)
	}
	raw, err := l.files.Tensor(own)
	if err != nil {
		return Tensor{}, fmt.Errorf("models: %w", err)
	}
	read, err := FromSafetensors(raw)
	if err != nil {
		return Tensor{}, fmt.Errorf("models: %s: tensor %q: %w", l.dir, own, err)
	}
	if i := notFinite(read.Data); i >= 0 {
		return Tensor{}, fmt.Errorf("models: %s: tensor %q is %v at position %d", l.dir, own, read.Data[i], i)
	}
	return read, nil
}

// Tensor returns a parameter. A linked model reads it from disk at every call, a computed
// one makes it.
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
	p := Params{}
	for name := range m.link.shapes() {
		var err error
		if p[name], err = m.link.read(name); err != nil {
			return nil, err
		}
	}
	return m.With(p), nil
}
