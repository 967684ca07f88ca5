package models

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models/safetensors"
)

// A Tensor is a dense array in row-major order. Values are held as float32;
// DType is the type they are stored in on disk (empty means F32).
type Tensor struct {
	DType safetensors.DType
	Shape []int
	Data  []float32
}

// Params holds the tensors of a checkpoint by name. Tensors are shared freely
// and not to be changed in place.
type Params map[string]Tensor

// Shapes returns the shape of every tensor.
func (p Params) Shapes() map[string][]int {
	s := make(map[string][]int, len(p))
	for name, t := range p {
		s[name] = t.Shape
	}
	return s
}

// Init draws fresh parameters for g from a seed: weights and tables from a
// normal distribution of standard deviation std, gains 1, biases 0. The same
// seed gives the same bytes on every machine.
func Init(g *graph.Graph, seed uint64, std float64) Params {
	rng := rand.New(rand.NewPCG(seed, 0x6f7466757365))
	out := Params{}
	for n, p := range g.Params() {
		if _, ok := out[p.Name]; ok {
			continue
		}
		t := Tensor{Shape: p.Full()}
		size := 1
		for _, d := range t.Shape {
			size *= d
		}
		t.Data = make([]float32, size)
		bias := strings.HasSuffix(p.Name, ".bias") || n.Op == graph.Unembed
		for i := range t.Data {
			switch {
			case bias:
			case n.Op == graph.Norm:
				t.Data[i] = 1
			default:
				t.Data[i] = float32(std * rng.NormFloat64())
			}
		}
		out[p.Name] = t
	}
	return out
}

// A Model is a checkpoint bound to its flow graph. It is not changed once made.
type Model struct {
	Arch   Architecture
	Config Config
	Graph  *graph.Graph
	Params Params            // nil where they stayed on disk: see [Link]
	Files  map[string][]byte // further files of the directory, such as preprocessor_config.json
	link   *link             // where they are; nil for none
}

// New binds parameters to an architecture. Every tensor that is missing,
// misshapen or left over is named in the error.
func New(arch Architecture, c Config, p Params) (*Model, error) {
	m, err := bind(arch, c, p.Shapes())
	if err != nil {
		return nil, err
	}
	return m.With(p), nil
}

// bind makes a model of tensors of these shapes, without them.
func bind(arch Architecture, c Config, shapes map[string][]int) (*Model, error) {
	g, err := arch.Graph(c)
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", arch.Class, err)
	}
	if err := g.Check(shapes); err != nil {
		return nil, fmt.Errorf("models: %s: %w", arch.Class, err)
	}
	return &Model{Arch: arch, Config: c, Graph: g}, nil
}

// With returns a copy of m that holds p instead of its own parameters, which
// must have the same names and shapes.
func (m *Model) With(p Params) *Model {
	c := *m
	c.Params, c.link = p, nil
	return &c
}
