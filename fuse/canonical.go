package fuse

import (
	"cmp"
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

// canonical is Canonical without loading: where the parameters of m are not in memory, those
// of the result are computed when they are asked for.
func canonical(m *models.Model) *models.Model {
	steps, folded := canonicalSteps(m.Graph)
	var made *models.Model
	if m.Params == nil {
		parts := partsByName(m.Graph)
		made = m.Computed(func(name string) (models.Tensor, error) {
			c := canonicalForm{m: m, params: models.Params{}, wanted: map[*graph.Node]bool{}}
			for _, part := range parts[name] {
				c.wanted[m.Graph.Nodes[part.node]] = true
			}
			c.takeSteps(steps)
			if t, changed := c.params[name]; changed || c.err != nil {
				return t, c.err
			}
			return m.Tensor(name)
		})
	} else {
		c := canonicalForm{m: m, params: models.Params{}}
		c.takeSteps(steps) // reads from memory
		made = m.Replace(c.params)
	}
	if folded {
		made.Extra = nil
	}
	return made
}

// A canonicalStep changes what is around one node: the readers of a norm or of an attention,
// or the node itself where its mean is taken out.
type canonicalStep struct {
	node    *graph.Node
	readers []*graph.Node
	take    func(*canonicalForm, canonicalStep)
}

// canonicalSteps lists the steps to the canonical form of a network in order, and says
// whether norms are folded.
func canonicalSteps(g *graph.Graph) (steps []canonicalStep, folded bool) {
	spaces, _ := g.Spaces()
	for _, s := range spaces {
		if !s.Group.Rotates() {
			continue
		}
		folded = true
		for _, n := range s.Nodes {
			if n.Op == graph.Norm {
				readers, _ := g.Readers(n)
				steps = append(steps, canonicalStep{n, readers, (*canonicalForm).foldNorm})
			} else if s.Group == graph.MeanKeeping && len(n.Params) > 0 {
				steps = append(steps, canonicalStep{n, nil, (*canonicalForm).centreNode})
			}
		}
	}
	for _, n := range g.Nodes {
		if n.Op != graph.Attend {
			continue
		}
		if hasOwnBias(g, n.Args[1]) {
			steps = append(steps, canonicalStep{n.Args[1], nil, (*canonicalForm).dropBias})
		}
		readers, foldable := g.Readers(n)
		if foldable && allBiased(readers) && hasOwnBias(g, n.Args[2]) {
			steps = append(steps, canonicalStep{n, readers, (*canonicalForm).foldValues})
		}
	}
	return steps, folded
}

// canonicalForm holds the tensors that were changed.
type canonicalForm struct {
	m      *models.Model
	params models.Params
	wanted map[*graph.Node]bool // whose parameters are asked for; nil for all
	err    error                // the first of reading
}

// takeSteps takes the steps that what is wanted depends on.
func (c *canonicalForm) takeSteps(steps []canonicalStep) {
	for _, s := range steps { // readers of an attention take what its values write
		if s.node.Op == graph.Attend && c.wanted != nil && slices.ContainsFunc(s.readers, c.wants) {
			c.wanted[s.node.Args[2]] = true
		}
	}
	for _, s := range steps {
		if c.wants(s.node) || s.node.Op == graph.Attend && c.wants(s.node.Args[2]) ||
			slices.ContainsFunc(s.readers, c.wants) {
			s.take(c, s)
		}
	}
}

// wants reports whether the parameters of a node are asked for.
func (c *canonicalForm) wants(n *graph.Node) bool { return c.wanted == nil || c.wanted[n] }

// read returns a copy of the parameter of n in that role; its data is nil where
// there is none.
func (c *canonicalForm) read(n *graph.Node, r graph.Role) tensor {
	p, ok := n.Param(r)
	if !ok {
		return tensor{}
	}
	var w tensor
	if _, changed := c.params[p.Name]; changed {
		w = fetchPart(c.params, p)
	} else {
		var err error
		if w, err = readPart(c.m, p); err != nil && c.err == nil {
			c.err = err
		}
		if err != nil {
			w = tensor{p.Shape, make([]float32, valueCount(p.Shape))}
		}
	}
	w.data = slices.Clone(w.data)
	return w
}

// write replaces the parameter of n in that role, where there is one that is wanted.
func (c *canonicalForm) write(n *graph.Node, r graph.Role, w tensor) {
	p, ok := n.Param(r)
	if !ok || !c.wants(n) {
		return
	}
	if _, changed := c.params[p.Name]; !changed {
		t, err := c.m.Tensor(p.Name)
		if err != nil {
			c.err = cmp.Or(c.err, err)
			return
		}
		t.Data = slices.Clone(t.Data)
		c.params[p.Name] = t
	}
	storePart(c.params, p, w, "")
}

// centreNode takes the mean over its units out of what a node writes.
func (c *canonicalForm) centreNode(s canonicalStep) {
	for _, p := range s.node.Params {
		w := c.read(s.node, p.Role)
		for k, axis := range p.Axes {
			if axis == graph.Out {
				w.centreAxis(k)
			}
		}
		c.write(s.node, p.Role, w)
	}
}

// foldNorm moves gain and bias of a norm into its readers. Where one of them has no
// bias that could take that of the norm, it stays, as β/γ: W (γ x + β) is
// W diag(γ) (x + β/γ).
func (c *canonicalForm) foldNorm(s canonicalStep) {
	n, readers := s.node, s.readers
	gain, bias := c.read(n, graph.RoleGain), c.read(n, graph.RoleBias)
	absorbed := !n.RMS && allBiased(readers)
	switch {
	case absorbed:
		c.absorbConstant(readers, bias.data)
	case !n.RMS:
		raiseGains(gain.data)
	}
	for _, r := range readers {
		if !c.wants(r) {
			continue
		}
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

// dropBias takes the bias of keys away.
func (c *canonicalForm) dropBias(s canonicalStep) {
	bias := c.read(s.node, graph.RoleBias)
	clear(bias.data)
	c.write(s.node, graph.RoleBias, bias)
}

// foldValues moves the bias of the values of an attention into its readers.
func (c *canonicalForm) foldValues(s canonicalStep) {
	values := s.node.Args[2]
	bias := c.read(values, graph.RoleBias)
	c.absorbConstant(s.readers, repeatedHeads(bias.data, s.node))
	clear(bias.data)
	c.write(values, graph.RoleBias, bias)
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
func hasOwnBias(g *graph.Graph, n *graph.Node) bool {
	reads := 0
	for _, u := range g.Nodes {
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
		if !c.wants(r) {
			continue
		}
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
