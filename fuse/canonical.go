package fuse

import (
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Canonical returns a model that computes the same with every space of
// [graph.Rotate] in its simplest form: gain and bias of each norm folded into
// the linear layers that read it, which leaves 1 and 0, and the mean over the
// units taken out of everything that writes to the space or reads it, which no
// norm lets through; and of every attention, the bias of values folded into the
// layers that read it, since shares sum to 1, and that of keys left out, which
// no softmax sees. What other spaces hold is left as it is.
func Canonical(m *models.Model) (*models.Model, error) {
	m, err := m.Load()
	if err != nil {
		return nil, fmt.Errorf("fuse: %w", err)
	}
	return canonical(m), nil
}

func canonical(m *models.Model) *models.Model {
	c := canon{m: m, params: models.Params{}}
	spaces, _ := m.Graph.Spaces()
	for _, s := range spaces {
		if s.Group == graph.Rotate {
			c.space(s)
		}
	}
	for _, n := range m.Graph.Nodes {
		if n.Op == graph.Attend {
			c.attend(n)
		}
	}
	out := make(models.Params, len(m.Params))
	for name, t := range m.Params {
		if own, ok := c.params[name]; ok {
			t = own
		}
		out[name] = t
	}
	return m.With(out)
}

// canon holds the tensors that were changed.
type canon struct {
	m      *models.Model
	params models.Params
}

// data returns the part of a tensor that p names, to be changed.
func (c *canon) data(p graph.Param) tensor {
	if _, ok := c.params[p.Name]; !ok {
		t := c.m.Params[p.Name]
		t.Data = slices.Clone(t.Data)
		c.params[p.Name] = t
	}
	return fetch(c.params, p)
}

func (c *canon) space(s graph.Space) {
	for _, n := range s.Nodes {
		if n.Op == graph.Norm {
			c.fold(n)
			continue
		}
		for _, p := range n.Params {
			for k, axis := range p.Axes {
				if axis == graph.Out {
					c.data(p).centre(k)
				}
			}
		}
	}
}

// fold moves gain and bias of a norm into its readers.
func (c *canon) fold(n *graph.Node) {
	gain, bias := c.data(n.Params[0]).data, c.data(n.Params[1]).data
	readers, _ := c.m.Graph.Readers(n)
	c.absorb(readers, bias)
	for _, r := range readers {
		w := c.data(r.Params[0])
		for i := range w.data {
			w.data[i] *= gain[i%len(gain)]
		}
		w.centre(1)
	}
	for k := range gain {
		gain[k], bias[k] = 1, 0
	}
}

// attend takes the biases of keys and values out of an attention.
func (c *canon) attend(n *graph.Node) {
	if k := n.Args[1]; c.biased(k) {
		clear(c.data(k.Params[1]).data)
	}
	readers, foldable := c.m.Graph.Readers(n)
	if v := n.Args[2]; foldable && c.biased(v) {
		bias := c.data(v.Params[1]).data
		c.absorb(readers, bias)
		clear(bias)
	}
}

// biased reports whether n is a linear layer with a bias that one node reads,
// once.
func (c *canon) biased(n *graph.Node) bool {
	reads := 0
	for _, u := range c.m.Graph.Nodes {
		for _, a := range u.Args {
			if a == n {
				reads++
			}
		}
	}
	return reads == 1 && n.Op == graph.Linear && len(n.Params) > 1
}

// absorb adds what readers make of a constant input to their biases.
func (c *canon) absorb(readers []*graph.Node, input []float32) {
	for _, r := range readers {
		w, b := c.data(r.Params[0]).data, c.data(r.Params[1]).data
		for i := range b {
			sum := float64(b[i])
			for k, v := range input {
				sum += float64(w[i*len(input)+k]) * float64(v)
			}
			b[i] = float32(sum)
		}
	}
}

// centre subtracts the mean along axis k, in place.
func (t tensor) centre(k int) {
	n, post := t.shape[k], size(t.shape[k+1:])
	for from := 0; from < len(t.data); from += n * post {
		for x := range post {
			var mean float64
			for i := range n {
				mean += float64(t.data[from+i*post+x]) / float64(n)
			}
			for i := range n {
				t.data[from+i*post+x] -= float32(mean)
			}
		}
	}
}
