package mlx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Learner refines the rotations of fuse.Matching by gradient descent on the
// loss of models between the anchor and the other: at shares λ of the other
// drawn from [0.4, 0.6], a new one for each update. Rotations are all that it
// moves, so the other model computes what it did. Theus et al., "Generalized
// linear mode connectivity for transformers" (NeurIPS 2025).
type Learner struct {
	Backend compute.Backend
	Recipe  Recipe // Steps 0 means 250, LR 0 means 2e-3
	Seed    uint64 // of the shares

	// Feed returns the batch of an update. Where the first has labels, the loss
	// is the cross-entropy with them; where it has none, that with the mean of
	// what both models answer.
	Feed    func(step int) (models.Batch, error)
	Observe func(step int, loss float64) // called after each update; may be nil
}

// share is the input that holds λ, the same for every sample.
const share = "share"

// learning is one run of a Learner.
type learning struct {
	descent
	anchor   *models.Model
	spaces   []graph.Space
	of       []int    // index of the space of each node, -1 for none
	inputs   []string // of a batch: what the network reads, labels if there are any, the share
	labelled bool
}

// Learn implements fuse.Learner.
func (l *Learner) Learn(ctx context.Context, src, anchor *models.Model, spaces []graph.Space) (turns []*mat.Dense, err error) {
	r := l.Recipe
	if r.Steps == 0 {
		r.Steps = 250
	}
	if r.LR == 0 {
		r.LR = 2e-3
	}
	batch, err := l.Feed(0)
	if err != nil {
		return nil, err
	}
	run := &learning{anchor: anchor, spaces: spaces, of: make([]int, len(anchor.Graph.Nodes)), inputs: anchor.Graph.Inputs()}
	if _, run.labelled = batch[models.Labels]; run.labelled {
		run.inputs = append(run.inputs, models.Labels)
	}
	run.inputs = append(run.inputs, share)
	for i := range run.of {
		run.of[i] = -1
	}
	for k, s := range spaces {
		for _, n := range s.Nodes {
			run.of[n.ID] = k
		}
	}
	run.descent = descent{recipe: r, loss: run.lossGraph, retract: run.rotations}
	defer func() { err = errors.Join(err, run.close()) }()
	for _, m := range []*models.Model{anchor, src} {
		ts, err := upload(m.Graph, m.Params)
		if err != nil {
			return nil, err
		}
		run.fixed = append(run.fixed, ts...)
	}
	if err := run.open(l.Backend, run.identities()); err != nil {
		return nil, err
	}
	return l.run(ctx, run)
}

// run makes the updates and reads the rotations back.
func (l *Learner) run(ctx context.Context, run *learning) ([]*mat.Dense, error) {
	rng := rand.New(rand.NewPCG(l.Seed, 7))
	for step := range run.recipe.Steps {
		var batches []models.Batch
		for range run.recipe.Accumulate {
			batch, err := l.Feed(step*run.recipe.Accumulate + len(batches))
			if err != nil {
				return nil, err
			}
			if batch, err = fitting(run.anchor, batch); err != nil {
				return nil, err
			}
			batch = maps.Clone(batch)
			n := batch.Len()
			batch[share] = models.Array{Shape: []int{n}, Floats: slices.Repeat([]float32{0.4 + 0.2*rng.Float32()}, n)}
			batches = append(batches, batch)
		}
		loss, err := run.descend(ctx, run.inputs, batches)
		if err != nil {
			return nil, fmt.Errorf("learning rotations: %w", err)
		}
		if l.Observe != nil {
			l.Observe(step+1, loss)
		}
	}
	var out []*mat.Dense
	for i, t := range run.params() {
		data, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return nil, fmt.Errorf("mlx: %w", err)
		}
		n, blocks := run.spaces[i].Units, max(run.spaces[i].Heads, 1)
		d := n / blocks
		turn := mat.NewDense(n, n, nil)
		for k, v := range data { // [blocks, d, d]
			turn.Set(k/(d*d)*d+k/d%d, k/(d*d)*d+k%d, float64(v))
		}
		out = append(out, turn)
	}
	return out, nil
}

// identities are the rotations to start from: [heads, d, d], and [1, n, n]
// outside attention.
func (run *learning) identities() []*tensors.Tensor {
	var out []*tensors.Tensor
	for _, s := range run.spaces {
		blocks := max(s.Heads, 1)
		d := s.Units / blocks
		eye := make([]float32, blocks*d*d)
		for k := range blocks * d {
			eye[k/d*d*d+k%d*d+k%d] = 1
		}
		out = append(out, tensors.FromFlatDataAndDimensions(eye, blocks, d, d))
	}
	return out
}

// rotations brings matrices [blocks, d, d] back to rotations.
func (run *learning) rotations(ws []*gx.Node) []*gx.Node {
	out := make([]*gx.Node, len(ws))
	for i, w := range ws {
		for range 5 {
			w = run.straighten(i, w)
		}
		out[i] = w
	}
	return out
}

// straighten is a step of Newton and Schulz, w (3 − wᵀw)/2, towards the nearest
// rotation, for the stream among those that keep (1, …, 1). Its derivative at a
// rotation takes from a gradient what leads away from rotations.
func (run *learning) straighten(i int, w *gx.Node) *gx.Node {
	keeps := run.spaces[i].Group == graph.Rotate
	if keeps {
		w = gx.Sub(gx.Sub(w, gx.ReduceAndKeep(w, gx.ReduceMean, 1)), gx.ReduceAndKeep(w, gx.ReduceMean, 2))
		w = gx.Add(w, gx.MulScalar(gx.ReduceAndKeep(gx.ReduceAndKeep(w, gx.ReduceMean, 1), gx.ReduceMean, 2), -1))
	}
	gram := gx.Einsum("bki,bkj->bij", w, w)
	w = gx.Sub(gx.MulScalar(w, 1.5), gx.MulScalar(gx.Einsum("bik,bkj->bij", w, gram), 0.5))
	if keeps {
		w = gx.AddScalar(w, 1/float64(run.spaces[i].Units))
	}
	return w
}

// lossGraph: inputs.., labels, share, anchor.., other.. and rotations → loss.
func (run *learning) lossGraph(in, turns []*gx.Node) *gx.Node {
	all := names(run.anchor.Graph)
	k := len(in) - 2*len(all)
	inputs := zip(run.inputs, in[:k])
	anchor, other := zip(all, in[k:k+len(all)]), zip(all, in[k+len(all):])
	straight := make([]*gx.Node, len(turns))
	for i, w := range turns {
		straight[i] = run.straighten(i, w)
	}
	moved, between := run.moved(other, straight), nodes{}
	at := gx.Squeeze(gx.Slice(inputs[share], gx.AxisElem(0)))
	for name, w := range anchor {
		between[name] = gx.Add(w, gx.Mul(at, gx.Sub(moved[name], w)))
	}
	logits := last(interpret(run.anchor.Graph, between, inputs))
	if run.labelled {
		return crossEntropy(logits, inputs[models.Labels], 0)
	}
	taught := gx.Add(gx.Softmax(last(interpret(run.anchor.Graph, anchor, inputs)), -1),
		gx.Softmax(last(interpret(run.anchor.Graph, other, inputs)), -1))
	each := gx.Neg(gx.ReduceSum(gx.Mul(gx.StopGradient(taught), gx.LogSoftmax(logits, -1)), -1))
	return gx.MulScalar(gx.ReduceAllMean(gx.ConvertDType(each, dtypes.Float32)), 0.5)
}

func last(values []*gx.Node) *gx.Node { return values[len(values)-1] }

// moved turns the parameters of the other model.
func (run *learning) moved(params nodes, turns []*gx.Node) nodes {
	parts := map[string][]*gx.Node{}
	for n, p := range run.anchor.Graph.Params() {
		w := part(params[p.Name], p)
		for k, axis := range p.Axes {
			if at := n.Along(axis); at != nil && run.of[at.ID] >= 0 {
				w = turned(w, k, turns[run.of[at.ID]])
			}
		}
		if p.Of == 0 {
			parts[p.Name] = []*gx.Node{w}
			continue
		}
		if parts[p.Name] == nil {
			parts[p.Name] = make([]*gx.Node, p.Of)
		}
		parts[p.Name][p.Part] = w
	}
	out := nodes{}
	for name, ws := range parts {
		if out[name] = ws[0]; len(ws) > 1 {
			out[name] = gx.Concatenate(ws, 0)
		}
	}
	return out
}

// turned multiplies axis k of w with a block-diagonal matrix [blocks, d, d].
func turned(w *gx.Node, k int, turn *gx.Node) *gx.Node {
	dims := w.Shape().Clone().Dimensions
	before, after := 1, 1
	for _, n := range dims[:k] {
		before *= n
	}
	for _, n := range dims[k+1:] {
		after *= n
	}
	b, d := turn.Shape().Dim(0), turn.Shape().Dim(1)
	w = gx.Reshape(w, before, b, d, after)
	w = gx.Einsum("pbia,bij->pbja", w, turn)
	return gx.Reshape(w, dims...)
}
