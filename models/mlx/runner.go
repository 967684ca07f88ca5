package mlx

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
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
	forward map[string]*gx.Exec // by the text of the graph
	score   *gx.Exec
}

// NewRunner returns a runner on that backend.
func NewRunner(b compute.Backend) *Runner {
	return &Runner{backend: b, forward: map[string]*gx.Exec{}}
}

// Close frees the compiled graphs.
func (r *Runner) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.forward {
		e.Finalize()
	}
	if r.score != nil {
		r.score.Finalize()
	}
	r.forward, r.score = map[string]*gx.Exec{}, nil
}

// logits returns the compiled forward pass: inputs.., params.. → logits.
func (r *Runner) logits(g *graph.Graph) (*gx.Exec, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := signature(g)
	if e, ok := r.forward[key]; ok {
		return e, nil
	}
	inputs, all := g.Inputs(), names(g)
	e, err := gx.NewExec(r.backend, func(in []*gx.Node) *gx.Node {
		values := interpret(g, zip(all, in[len(inputs):]), zip(inputs, in[:len(inputs)]))
		return values[len(values)-1]
	})
	if err != nil {
		return nil, fmt.Errorf("mlx: %w", err)
	}
	r.forward[key] = e.SetMaxCache(-1)
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
	out, err := r.run(m, batch)
	if err != nil {
		return models.Array{}, err
	}
	data, err := tensors.CopyFlatData[float32](out)
	return models.Array{Shape: out.Shape().Clone().Dimensions, Floats: data}, errors.Join(err, free(out))
}

func (r *Runner) run(m *models.Model, batch models.Batch) (*tensors.Tensor, error) {
	params, err := upload(m.Graph, m.Params)
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
		return nil, fmt.Errorf("mlx: forward pass: %w", err)
	}
	return out[0], nil
}

// A Score says how well a network, or several as an ensemble, does.
type Score struct {
	Accuracy float64 // share of the labels that are the most likely class
	Loss     float64 // mean cross entropy, nats
	Count    int     // labels that counted
}

// Evaluate scores a network on labelled data, size samples at a time. Several
// networks are scored as their ensemble, the mean of their probabilities.
func (r *Runner) Evaluate(ctx context.Context, data models.Batch, size int, ms ...*models.Model) (Score, error) {
	if data.Len() == 0 || size <= 0 || len(ms) == 0 {
		return Score{}, fmt.Errorf("mlx: evaluating %d models on %d samples, %d at a time", len(ms), data.Len(), size)
	}
	scorer, err := r.scorer()
	if err != nil {
		return Score{}, err
	}
	size = min(size, data.Len())
	params := make([][]*tensors.Tensor, len(ms))
	defer func() {
		for _, p := range params {
			err = errors.Join(err, free(p...))
		}
	}()
	for i, m := range ms {
		if params[i], err = upload(m.Graph, m.Params); err != nil {
			return Score{}, err
		}
	}
	var right, loss, count float64
	for from := 0; from < data.Len(); from += size {
		if err := ctx.Err(); err != nil {
			return Score{}, err
		}
		batch := data.Slice(from, min(from+size, data.Len())).Pad(size)
		in, err := feed(batch, []string{models.Labels})
		if err != nil {
			return Score{}, err
		}
		for i, m := range ms {
			y, err := r.runWith(m.Graph, params[i], batch)
			if err != nil {
				return Score{}, errors.Join(err, free(in...))
			}
			in = append(in, y)
		}
		out, err := scorer.Call(args(in)...)
		if err = errors.Join(err, free(in...)); err != nil {
			return Score{}, fmt.Errorf("mlx: scoring: %w", err)
		}
		for i, to := range []*float64{&right, &loss, &count} {
			v, err := scalar(out[i])
			if err = errors.Join(err, free(out[i])); err != nil {
				return Score{}, err
			}
			*to += v
		}
	}
	if count == 0 {
		return Score{}, errors.New("mlx: no label counts")
	}
	return Score{right / count, loss / count, int(count)}, err
}

// scorer returns the compiled score: labels, logits.. → right, loss, count.
func (r *Runner) scorer() (*gx.Exec, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.score != nil {
		return r.score, nil
	}
	e, err := gx.NewExec(r.backend, func(in []*gx.Node) []*gx.Node {
		labels := in[0]
		keep := gx.ConvertDType(gx.GreaterOrEqual(labels, gx.ScalarZero(labels.Graph(), labels.DType())), dtypes.Float32)
		var probs *gx.Node
		for _, y := range in[1:] {
			p := gx.MulScalar(gx.Softmax(y, -1), 1/float64(len(in)-1))
			if probs == nil {
				probs = p
			} else {
				probs = gx.Add(probs, p)
			}
		}
		logp := gx.Log(gx.MaxScalar(probs, 1e-37))
		if len(in) == 2 {
			logp = gx.LogSoftmax(in[1], -1)
		}
		want := gx.OneHot(gx.MaxScalar(labels, 0), probs.Shape().Dim(-1), dtypes.Float32)
		loss := gx.Neg(gx.ReduceSum(gx.Mul(want, logp), -1))
		right := gx.ConvertDType(gx.Equal(gx.ArgMax(probs, -1, labels.DType()), labels), dtypes.Float32)
		return []*gx.Node{gx.ReduceAllSum(gx.Mul(right, keep)), gx.ReduceAllSum(gx.Mul(loss, keep)), gx.ReduceAllSum(keep)}
	})
	if err != nil {
		return nil, fmt.Errorf("mlx: %w", err)
	}
	r.score = e.SetMaxCache(-1)
	return e, nil
}
