package models

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/otfuse/otfuse/models/safetensors"
)

// A Model is a checkpoint bound to its network. It is not changed once it is made,
// so goroutines may share it.
type Model struct {
	Arch   Architecture
	Config Config
	Spec                     // of Config, with the inputs that were derived
	Params Params            // nil where they stayed on disk: see [Link]
	Files  map[string][]byte // other files of the directory, such as preprocessor_config.json

	// Extra holds tensors that the network does not read, such as heads of other
	// classes and buffers. They are saved with the model as they are.
	Extra map[string]safetensors.Tensor

	text []byte // config.json as it was read; nil for a model made in Go
	link *link  // the tensors on disk; nil for a model in memory
}

// ErrNoParams reports a model whose parameters are needed and not in memory. Those
// of a model that [Link] returned are on disk until [Model.Load] reads them.
var ErrNoParams = errors.New("there are no parameters in memory; those of a linked model are on disk: Load it first")

// New binds parameters to a network. The error names every tensor that is missing,
// misshapen or left over, whose length is not that of its shape, or that holds NaN
// or infinities.
//
// [Model.Save] writes a new config.json for it. To change an opened model and keep
// the other keys of its config.json, use [Model.WithConfig].
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

// Fresh returns a model to be trained from scratch. [Init] draws its parameters:
// std is the standard deviation of weights.
func Fresh(arch Architecture, c Config, seed uint64, std float64) (*Model, error) {
	m, err := arch.bind(c)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	for _, p := range m.Graph.Params() {
		if size, ok := count(p.Full()); !ok || size > maxTensor {
			return nil, fmt.Errorf("models: %s: tensor %q would have shape %v", arch.Class, p.Name, p.Full())
		}
	}
	m.Params = Init(m.Graph, seed, std)
	return m, nil
}

// maxTensor is the largest number of values of a tensor that is drawn: 64 GiB.
const maxTensor = 1 << 34

// bind returns a model that has no parameters yet.
func (a Architecture) bind(c Config) (*Model, error) {
	if c == nil {
		return nil, fmt.Errorf("%s: there is no Config", a.Class)
	}
	s, err := c.Spec()
	if err == nil {
		s, err = s.withInputs()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Class, err)
	}
	return &Model{Arch: a, Config: c, Spec: s}, nil
}

// parse returns a model of the text of a config.json that has no parameters yet.
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

// Check reports parameters that do not fit the network: tensors that are missing,
// misshapen or left over, or whose length is not that of their shape. The models
// of [New], [Open] and [Link] have passed it, those of [Model.With] have not.
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

// With returns a copy of m with parameters p in place of its own. They must have
// the same names and shapes, which [Model.Check] and everything that computes or
// saves the model verify.
func (m *Model) With(p Params) *Model {
	c := *m
	c.Params, c.link = p, nil
	return &c
}

// WithConfig returns a copy of m with another configuration, which its parameters
// must fit. The keys of its config.json that the configuration does not know are
// kept when it is saved.
func (m *Model) WithConfig(c Config) (*Model, error) {
	made, err := m.Arch.bind(c)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	made.Params, made.Files, made.Extra, made.text, made.link = m.Params, m.Files, m.Extra, m.text, m.link
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

// Digest tells the model from others: it is a digest of its class, its configuration and the
// names and values of its tensors, 16 hexadecimal digits.
func (m *Model) Digest() (string, error) {
	config, err := json.Marshal(m.Config)
	if err != nil {
		return "", fmt.Errorf("models: configuration of %s: %w", m.Arch.Class, err)
	}
	h := sha256.New()
	if _, err := fmt.Fprintf(h, "%s %s ", m.Arch.Class, config); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(m.Shapes())) {
		t, err := m.Tensor(name)
		if err != nil {
			return "", err
		}
		if _, err := io.WriteString(h, name); err != nil {
			return "", err
		}
		if err := binary.Write(h, binary.LittleEndian, t.Data); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

// short returns joined errors of which the text names the first few and counts the
// rest. All are in its chain.
func short(err error) error {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok || len(many.Unwrap()) <= mostNamed {
		return err
	}
	return namedFirstError{many.Unwrap()}
}

// mostNamed is the number of tensors that an error names: enough to see what they
// have in common.
const mostNamed = 6

type namedFirstError struct{ all []error }

// Error implements error.
func (e namedFirstError) Error() string {
	return fmt.Sprintf("%v\nand %d more", errors.Join(e.all[:mostNamed]...), len(e.all)-mostNamed)
}

// Unwrap returns all errors.
func (e namedFirstError) Unwrap() []error { return e.all }
