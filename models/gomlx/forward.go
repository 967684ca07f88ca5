package gomlx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// Logits runs m on a batch, whose labels are not looked at. It returns
// [samples, classes], or [samples, tokens, classes] of a masked language model, in
// row-major order. Of an encoder it returns its features [samples, tokens, units].
func (d *Device) Logits(ctx context.Context, m *models.Model, batch models.Batch) (models.Array, error) {
	done, err := d.acquire()
	if err != nil {
		return models.Array{}, err
	}
	defer done()
	batch = maps.Clone(batch)
	delete(batch, models.Labels)
	if batch, err = completed(m, batch); err != nil {
		return models.Array{}, err
	}
	params, err := d.upload(ctx, m)
	if err != nil {
		return models.Array{}, err
	}
	out, err := d.forward(ctx, m, params, batch)
	if err = errors.Join(err, free(params...)); err != nil {
		return models.Array{}, err
	}
	data, err := valuesOf[float32](out)
	return models.Array{Shape: out.Shape().Clone().Dimensions, Floats: data}, errors.Join(err, free(out))
}

// forward returns the logits of a network with the given parameters.
func (d *Device) forward(
	ctx context.Context, m *models.Model, params []*array, batch models.Batch,
) (*array, error) {
	g := m.Graph
	inputs, all := g.Inputs(), tensorNames(g)
	p := d.cached(signature(g), "forward pass of "+m.Arch.Class, computation{func(in []*gx.Node) []*gx.Node {
		values := interpret(g, byName(all, in[len(inputs):]), byName(inputs, in[:len(inputs)]))
		return values[len(values)-1:]
	}, likeFirst(1)})
	in, err := d.uploadBatch(batch, inputs)
	if err != nil {
		return nil, err
	}
	out, err := p.call(ctx, arguments(in, params)...)
	if err = errors.Join(err, free(in...)); err != nil {
		return nil, err
	}
	return out[0], nil
}

// signature tells apart graphs that compute differently.
func signature(g *graph.Graph) string {
	var s strings.Builder
	s.WriteString(g.String())
	for _, n := range g.Nodes {
		fmt.Fprint(&s, n.Heads, n.Scale, n.Causal, n.Window, n.Rope, n.Eps, n.RMS, n.Fn, n.Values())
		for _, p := range n.Params {
			fmt.Fprint(&s, p)
		}
	}
	return s.String()
}
