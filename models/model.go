package models

import (
	"errors"
	"fmt"
)

// A Model is a checkpoint bound to its network. It is not changed once made, so
// that goroutines may share it.
type Model struct {
	Arch   Architecture
	Config Config
	Spec                     // of Config, with all inputs
	Params Params            // nil where they stayed on disk: see [Link]
	Files  map[string][]byte // further files of the directory, such as preprocessor_config.json
	text   []byte            // config.json as it was read; nil for none
	link   *link             // where the parameters are; nil for none
}

// ErrNoParams reports a model without parameters in memory where they are
// needed: those of one that [Link] returned are on disk.
var ErrNoParams = errors.New("there are no parameters in memory; those of a linked model are on disk: Load it first")

// New binds parameters to a network. Every tensor that is missing, misshapen,
// left over, of another length than its shape, or not finite is named in the
// error. Save writes config.json afresh; to change an opened model and keep what
// else its config.json says, see [Model.WithConfig].
func New(arch Architecture, c Config, p Params) (*Model, error) {
	m, err := arch.bind(c)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	m.Params = p
	if err = m.check(); err == nil {
		err = p.checkFinite()
	}
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", arch.Class, err)
	}
	return m, nil
}

// Fresh returns a model to be trained from scratch, its parameters drawn from a
// seed by [Init].
func Fresh(arch Architecture, c Config, seed uint64, std float64) (*Model, error) {
	m, err := arch.bind(c)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	m.Params = Init(m.Graph, seed, std)
	return m, nil
}

// bind makes a model without parameters.
func (a Architecture) bind(c Config) (*Model, error) {
	if c == nil {
		return nil, fmt.Errorf("%s: there is no Config", a.Class)
	}
	s, err := c.Spec()
	if err == nil {
		s, err = s.complete()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Class, err)
	}
	return &Model{Arch: a, Config: c, Spec: s}, nil
}

// parse makes a model without parameters of the text of a config.json.
func (a Architecture) parse(text []byte) (*Model, error) {
	if a.Parse == nil {
		return nil, fmt.Errorf("%s: the architecture has no Parse to read %s", a.Class, configName)
	}
	c, err := a.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Class, err)
	}
	m, err := a.bind(c)
	if err != nil {
		return nil, err
	}
	m.text = text
	return m, nil
}

// Check reports parameters that the network cannot be computed with: tensors that
// are missing, misshapen, left over or of another length than their shape. All of
// a model that [New], [Open] or [Link] returned fit; those of [Model.With] may not.
func (m *Model) Check() error {
	if err := m.check(); err != nil {
		return fmt.Errorf("models: %s: %w", m.Arch.Class, err)
	}
	return nil
}

// check is Check with an error that does not name the package yet.
func (m *Model) check() error {
	if m.Params == nil && m.link == nil {
		return ErrNoParams
	}
	return errors.Join(m.Graph.Check(m.Shapes()), m.Params.checkLengths())
}

// With returns a copy of m that holds p instead of its own parameters, which
// must have the same names and shapes: what reads or saves them checks that.
func (m *Model) With(p Params) *Model {
	c := *m
	c.Params, c.link = p, nil
	return &c
}

// WithConfig returns a copy of m with another configuration, which the
// parameters must fit. What config.json says besides is kept when it is saved.
func (m *Model) WithConfig(c Config) (*Model, error) {
	made, err := m.Arch.bind(c)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	made.Params, made.Files, made.text, made.link = m.Params, m.Files, m.text, m.link
	if err := made.Check(); err != nil {
		return nil, err
	}
	return made, nil
}

// Size returns the number of scalars of all parameters.
func (m *Model) Size() int {
	var n int
	for _, shape := range m.Shapes() {
		size, _ := count(shape)
		n += size
	}
	return n
}
