package gomlx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/gomlx/compute"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Runner runs networks forward. It compiles each graph once for every batch
// shape: weights are arguments, so one compilation serves all checkpoints of
// an architecture and size. Methods may be called from several goroutines.
type Runner struct {
	backend compute.Backend
	mu      sync.Mutex
	execs   map[string]*gx.Exec // by what they compute
}

// NewRunner returns a runner on that backend.
func NewRunner(b compute.Backend) *Runner {
	return &Runner{backend: b, execs: map[string]*gx.Exec{}}
}

// Close frees the compiled graphs.
func (r *Runner) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.execs {
		e.Finalize()
	}
	r.execs = map[string]*gx.Exec{}
}

// logits returns the compiled forward pass: inputs.., params.. → logits.
func (r *Runner) logits(g *graph.Graph) (*gx.Exec, error) {
	inputs, all := g.Inputs(), names(g)
	return r.compiled(signature(g), func(in []*gx.Node) []*gx.Node {
		values := interpret(g, zip(all, in[len(inputs):]), zip(inputs, in[:len(inputs)]))
		return values[len(values)-1:]
	})
}

// compiled returns the graph function compiled under that key.
func (r *Runner) compiled(key string, fn func([]*gx.Node) []*gx.Node) (*gx.Exec, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.execs[key]; ok {
		return e, nil
	}
	e, err := gx.NewExec(r.backend, fn)
	if err != nil {
		return nil, fmt.Errorf("gomlx: %w", err)
	}
	r.execs[key] = e.SetMaxCache(-1)
	return e, nil
}

// signature tells apart graphs that compute differently.
func signature(g *graph.Graph) string {
	s := g.String()
	for _, n := range g.Nodes {
		s += fmt.Sprint(n.Heads, n.Eps, n.Fn, n.Rows)
		for _, p := range n.Params {
			s += fmt.Sprint(p)
		}
	}
	return s
}

// Logits runs m on a batch: [samples.., classes] in row-major order.
func (r *Runner) Logits(ctx context.Context, m *models.Model, batch models.Batch) (models.Array, error) {
	if err := ctx.Err(); err != nil {
		return models.Array{}, err
	}
	batch = maps.Clone(batch)
	delete(batch, models.Labels)
	batch, err := fitting(m, batch)
	if err != nil {
		return models.Array{}, err
	}
	out, err := r.run(m, batch)
	if err != nil {
		return models.Array{}, err
	}
	data, err := tensors.CopyFlatData[float32](out)
	return models.Array{Shape: out.Shape().Clone().Dimensions, Floats: data}, errors.Join(err, free(out))
}

func (r *Runner) run(m *models.Model, batch models.Batch) (*tensors.Tensor, error) {
	params, err := upload(m)
	if err != nil {
		return nil, err
	}
	out, err := r.runWith(m.Graph, params, batch)
	return out, errors.Join(err, free(params...))
}

func (r *Runner) runWith(g *graph.Graph, params []*tensors.Tensor, batch models.Batch) (*tensors.Tensor, error) {
	e, err := r.logits(g)
	if err != nil {
		return nil, err
	}
	in, err := feed(batch, g.Inputs())
	if err != nil {
		return nil, err
	}
	out, err := e.Call(args(in, params)...)
	if err = errors.Join(err, free(in...)); err != nil {
		return nil, fmt.Errorf("gomlx: forward pass: %w", err)
	}
	return out[0], nil
}
