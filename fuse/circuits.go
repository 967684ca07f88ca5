package fuse

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Attention computes with products of its factors alone, the circuits QᵀK and VᵀO
// of each head, biases being a further input. The mean of two products is not the
// product of the means, and within heads it is the product that counts. The
// factors A, B [units of a head × inputs] of the mean of the circuits are those
// that minimise
//
//	‖AᵀB − Σ w_k A_kᵀB_k‖²
//
// over the models k, found by least squares for A and B in turn, from their means.
// Of all factors of the same product this finds some near the means, and the means
// themselves where the circuits of all models agree. Elhage et al., "A Mathematical
// Framework for Transformer Circuits" (2021), for the circuits.

const (
	// circuitRounds is the number of times that least squares are solved for both
	// factors. The product changes little after the second.
	circuitRounds = 8
	// circuitDamping ties factors to what they were, as a share of the mean square of
	// the other factor, where units of a head carry next to nothing.
	circuitDamping = 1e-4
)

// A circuitMean puts the factors of mean circuits into a weighted mean of models.
type circuitMean struct {
	graph   *graph.Graph
	spaces  []graph.Space
	of      []int // by node: index of its space
	params  []models.Params
	weights []float64
	mean    models.Params // of params, changed in place
}

// replaceCircuits replaces the factors of all heads that any invertible map is granted to in
// mean, the weighted mean of models of one graph. Circuits of which mean has no part are left
// out.
func replaceCircuits(g *graph.Graph, params []models.Params, weights []float64, mean models.Params) error {
	c := circuitMean{graph: g, params: params, mean: mean}
	var err error
	if c.weights, err = modelWeights(weights, len(c.params)); err != nil {
		return err
	}
	if slices.Contains(c.weights, 1) && !slices.ContainsFunc(c.weights, func(w float64) bool { return w != 0 && w != 1 }) {
		return nil // one model is the mean
	}
	c.spaces, c.of = c.graph.Spaces()
	for k, s := range c.spaces {
		if s.Group != graph.Headwise {
			continue
		}
		if err := c.replaceSpace(k); err != nil {
			return fmt.Errorf("circuits of %s: %w", s.Attend.Name, err)
		}
	}
	return nil
}

// A factorPart is a parameter that is a part of a factor: its units lie along an axis.
// Heads that share keys and values are beside each other in the rows of those.
type factorPart struct {
	graph.Param
	axis   int
	width  int // units of a head
	beside int // heads in a row; 1 where nothing is shared
}

// factors lists the parameters of both factors of a space, those that a map of the
// units carries and those that take its inverse, and the number of rows of both.
func (c circuitMean) factors(k int) (out [2][]factorPart, least int) {
	s := c.spaces[k]
	least = s.Units
	for n, p := range c.graph.Params() {
		for x, axis := range p.Axes {
			if at := n.Along(axis); at != nil && c.of[at.ID] == k {
				side := 0
				if s.Dual(n, axis) {
					side = 1
				}
				out[side] = append(out[side], factorPart{p, x, s.Units / s.Heads, at.Units})
				least = min(least, at.Units)
			}
		}
	}
	for _, parts := range out {
		for i := range parts {
			parts[i].beside /= least
		}
	}
	return out, least
}

// replaceSpace replaces the factors of all heads of a space.
func (c circuitMean) replaceSpace(k int) error {
	s := c.spaces[k]
	sides, rows := c.factors(k)
	if _, has := c.mean[sides[0][0].Name]; !has {
		return nil
	}
	own := make([][2]*mat.Dense, len(c.params))
	for i, p := range c.params {
		own[i] = [2]*mat.Dense{stacked(p, sides[0]), stacked(p, sides[1])}
	}
	found := [2]*mat.Dense{stacked(c.mean, sides[0]), stacked(c.mean, sides[1])}
	d := s.Units / s.Heads
	for h := range rows / d {
		head := func(m [2]*mat.Dense) (out [2]*mat.Dense) {
			for side := range out {
				_, inputs := m[side].Dims()
				out[side] = m[side].Slice(h*d, (h+1)*d, 0, inputs).(*mat.Dense)
			}
			return out
		}
		own, found := each(own, head), head(found)
		for range circuitRounds {
			for side := range found {
				if err := c.solveFactor(own, found, side); err != nil {
					return fmt.Errorf("head %d: %w", h, err)
				}
			}
		}
	}
	for side, parts := range sides {
		unstack(c.mean, parts, found[side])
	}
	return nil
}

// solveFactor solves for one factor of a head, in place, the other one given.
func (c circuitMean) solveFactor(own [][2]*mat.Dense, found [2]*mat.Dense, side int) error {
	factor, other := found[side], found[1-side]
	var gram mat.Dense
	gram.Mul(other, other.T())
	d, _ := gram.Dims()
	damping := circuitDamping * mat.Trace(&gram) / float64(d)
	if damping == 0 {
		return nil // the circuit is zero whatever the factor is
	}
	var goal mat.Dense
	goal.Scale(damping, factor)
	for i, model := range own {
		var across, part mat.Dense
		across.Mul(other, model[1-side].T())
		part.Mul(&across, model[side])
		part.Scale(c.weights[i], &part)
		goal.Add(&goal, &part)
	}
	damped := mat.NewSymDense(d, nil)
	for i := range d {
		for j := i; j < d; j++ {
			damped.SetSym(i, j, gram.At(i, j))
		}
		damped.SetSym(i, i, gram.At(i, i)+damping)
	}
	var chol mat.Cholesky
	if !chol.Factorize(damped) {
		return errFactor
	}
	return chol.SolveTo(factor, &goal)
}

// stacked returns a factor, a row for each unit, from the parameters that are its
// parts.
func stacked(params models.Params, parts []factorPart) *mat.Dense {
	var out *mat.Dense
	for _, p := range parts {
		w := p.rows(fetchPart(params, p.Param))
		if out == nil {
			out = w
			continue
		}
		var wider mat.Dense
		wider.Augment(out, w)
		out = &wider
	}
	return out
}

// unstack is the inverse of stacked.
func unstack(params models.Params, parts []factorPart, factor *mat.Dense) {
	units, from := factor.RawMatrix().Rows, 0
	for _, p := range parts {
		t := tensor{p.Shape, make([]float32, valueCount(p.Shape))}
		inputs := len(t.data) / units
		for i := range units {
			for k, v := range factor.RawRowView(i)[from : from+inputs] {
				t.data[p.place(i, k, inputs)] = float32(v)
			}
		}
		storePart(params, p.Param, t, "")
		from += inputs
	}
}

// rows returns the values of a parameter as a row for each unit of a head.
func (p factorPart) rows(t tensor) *mat.Dense {
	inputs := len(t.data) / t.shape[p.axis] * p.beside
	out := mat.NewDense(len(t.data)/inputs, inputs, nil)
	for i := range len(t.data) / inputs {
		for k, row := 0, out.RawRowView(i); k < inputs; k++ {
			row[k] = float64(t.data[p.place(i, k, inputs)])
		}
	}
	return out
}

// place returns where in the parameter row i has its entry k, of so many inputs.
func (p factorPart) place(i, k, inputs int) int {
	inputs /= p.beside
	head, post := i/p.width*p.beside+k/inputs, valueCount(p.Shape[p.axis+1:])
	unit, k := head*p.width+i%p.width, k%inputs
	return (k/post*p.Shape[p.axis]+unit)*post + k%post
}

// each applies f to all.
func each[T, U any](all []T, f func(T) U) []U {
	out := make([]U, len(all))
	for i, v := range all {
		out[i] = f(v)
	}
	return out
}
