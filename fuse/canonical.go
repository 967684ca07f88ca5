package fuse

import (
	"fmt"
	"slices"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Canonical returns a model that computes the same with every space of
// [graph.Orthogonal] and [graph.MeanKeeping] in its simplest form: gain and bias of
// each norm folded into the linear layers that read it, which leaves 1 and 0, and,
// where norms take the mean over the units away, that mean taken out of everything
// that writes to the space or reads it; and of every attention, the bias of values
// folded into the layers that read it, since shares sum to 1, and that of keys left
// out, which no softmax sees unless rotary positions turn them. What other spaces hold
// is left as it is. Extra tensors of the model may read a norm that was folded: they are
// dropped where there is such a space.
func Canonical(m *models.Model) (*models.Model, error) {
	m, err := m.Load()
	if err != nil {
		return nil, fmt.Errorf("fuse: %w", err)
	}
	return canonical(m), nil
}

func canonical(m *models.Model) *models.Model {
	c := canonicalForm{m: m, params: models.Params{}}
	spaces, _ := m.Graph.Spaces()
	var folded bool
	for _, s := range spaces {
		if s.Group.Rotates() {
			c.normaliseSpace(s)
			folded = true
		}
	}
	for _, n := range m.Graph.Nodes {
		if n.Op == graph.Attend {
			c.foldAttention(n)
		}
	}
	out := make(models.Params, len(m.Params))
	for name, t := range m.Params {
		if own, ok := c.params[name]; ok {
			t = own
		}
		out[name] = t
	}
	made := m.With(out)
	if folded {
		made.Extra = nil
	}
	return made
}

// canonicalForm holds the tensors that were changed.
type canonicalForm struct {
	m      *models.Model
	params models.Params
}

// read returns a copy of the parameter of n in that role; its data is nil where
// there is none.
func (c *canonicalForm) read(n *graph.Node, r graph.Role) tensor {
	p, ok := n.Param(r)
	if !ok {
		return tensor{}
	}
	from := c.params
	if _, changed := from[p.Name]; !changed {
		from = c.m.Params
	}
	w := fetchPart(from, p)
	w.data = slices.Clone(w.data)
	return w
}

// write replaces the parameter of n in that role, where there is one.
func (c *canonicalForm) write(n *graph.Node, r graph.Role, w tensor) {
	p, ok := n.Param(r)
	if !ok {
		return
	}
	if _, changed := c.params[p.Name]; !changed {
		t := c.m.Params[p.Name]
		t.Data = slices.Clone(t.Data)
		c.params[p.Name] = t
	}
	storePart(c.params, p, w, "")
}

// normaliseSpace folds the norms of a space and, where they take means away, centres
// what writes to it.
func (c *canonicalForm) normaliseSpace(s graph.Space) {
	for _, n := range s.Nodes {
		if n.Op == graph.Norm {
			c.foldNorm(n)
			continue
		}
		if s.Group != graph.MeanKeeping {
			continue
		}
		for _, p := range n.Params {
			w := c.read(n, p.Role)
			for k, axis := range p.Axes {
				if axis == graph.Out {
					w.centreAxis(k)
				}
			}
			c.write(n, p.Role, w)
		}
	}
}

// foldNorm moves gain and bias of a norm into its readers. Where one of them has no
// bias that could take that of the norm, it stays, as β/γ: W (γ x + β) is
// W diag(γ) (x + β/γ).
func (c *canonicalForm) foldNorm(n *graph.Node) {
	gain, bias := c.read(n, graph.RoleGain), c.read(n, graph.RoleBias)
	readers, _ := c.m.Graph.Readers(n)
	absorbed := !n.RMS && allBiased(readers)
	switch {
	case absorbed:
		c.absorbConstant(readers, bias.data)
	case !n.RMS:
		raiseGains(gain.data)
	}
	for _, r := range readers {
		p, _ := r.Param(graph.RoleWeight)
		w, in := c.read(r, graph.RoleWeight), slices.Index(p.Axes, graph.In)
		w.scale(in, gain.data)
		if absorbed {
			w.centreAxis(in) // what is left has no mean
		}
		c.write(r, graph.RoleWeight, w)
	}
	for k := range bias.data {
		if bias.data[k] /= gain.data[k]; absorbed {
			bias.data[k] = 0
		}
	}
	for k := range gain.data {
		gain.data[k] = 1
	}
	c.write(n, graph.RoleGain, gain)
	c.write(n, graph.RoleBias, bias)
}

// allBiased reports whether each of the layers has a bias.
func allBiased(layers []*graph.Node) bool {
	return !slices.ContainsFunc(layers, func(n *graph.Node) bool {
		_, ok := n.Param(graph.RoleBias)
		return !ok
	})
}

// leastGain is the share of the largest gain that smaller ones are raised to before
// something is divided by them.
const leastGain = 1e-6

// raiseGains brings gains away from 0, in place.
func raiseGains(gains []float32) {
	var largest float32
	for _, g := range gains {
		largest = max(largest, g, -g)
	}
	if largest == 0 {
		largest = 1
	}
	for k, g := range gains {
		if least := leastGain * largest; max(g, -g) < least {
			gains[k] = least
		}
	}
}

// foldAttention takes the biases of keys and values out of an attention.
func (c *canonicalForm) foldAttention(n *graph.Node) {
	if k := n.Args[1]; c.hasOwnBias(k) {
		bias := c.read(k, graph.RoleBias)
		clear(bias.data)
		c.write(k, graph.RoleBias, bias)
	}
	readers, foldable := c.m.Graph.Readers(n)
	if v := n.Args[2]; foldable && allBiased(readers) && c.hasOwnBias(v) {
		bias := c.read(v, graph.RoleBias)
		c.absorbConstant(readers, repeatedHeads(bias.data, n))
		clear(bias.data)
		c.write(v, graph.RoleBias, bias)
	}
}

// repeatedHeads returns the values of an attention as it puts them out: those of each
// head once for every head of queries that shares it.
func repeatedHeads(values []float32, n *graph.Node) []float32 {
	var out []float32
	d := n.Units / n.Heads
	for h := range n.Heads {
		from := h / n.Shared() * d
		out = append(out, values[from:from+d]...)
	}
	return out
}

// hasOwnBias reports whether n is a linear layer with a bias that one node reads,
// once.
func (c *canonicalForm) hasOwnBias(n *graph.Node) bool {
	reads := 0
	for _, u := range c.m.Graph.Nodes {
		for _, a := range u.Args {
			if a == n {
				reads++
			}
		}
	}
	_, ok := n.Param(graph.RoleBias)
	return ok && reads == 1 && n.Op == graph.Linear
}

// absorbConstant adds what readers make of a constant input to their biases.
func (c *canonicalForm) absorbConstant(readers []*graph.Node, input []float32) {
	for _, r := range readers {
		p, _ := r.Param(graph.RoleWeight)
		w, bias := c.read(r, graph.RoleWeight).unitRows(p.Axes), c.read(r, graph.RoleBias)
		for i := range bias.data {
			sum := float64(bias.data[i])
			for k, v := range input {
				sum += w.At(i, k) * float64(v)
			}
			bias.data[i] = float32(sum)
		}
		c.write(r, graph.RoleBias, bias)
	}
}

// scale multiplies t along axis k by factors, in place.
func (t tensor) scale(k int, factors []float32) {
	post := valueCount(t.shape[k+1:])
	for i := range t.data {
		t.data[i] *= factors[i/post%len(factors)]
	}
}

// centreAxis subtracts the mean along axis k, in place.
func (t tensor) centreAxis(k int) {
	n, post := t.shape[k], valueCount(t.shape[k+1:])
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
