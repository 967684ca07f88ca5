package gomlx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	gx "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Learner refines the maps of fuse.Matching by gradient descent on the loss of
// weighted means of the aligned models: at shares drawn from 0.8 to 1.2, over
// their sum, new ones for each update; of two models 0.4 to 0.6. It moves the
// rotations of streams and what is invertible within heads and nothing else, so
// the models compute what they did, but for fuse.Matching.Inexact. Theus et al.,
// "Generalized linear mode connectivity for transformers" (NeurIPS 2025).
type Learner struct {
	device *Device
	Config TrainConfig // Steps 0 means 250, LR 0 means 1e-2
	Seed   uint64      // of the shares

	// Batches returns the batch of an update. The loss is the cross-entropy with
	// what the models answer in the mean or, where the first batch has labels,
	// half with that and half with them.
	Batches Batches
	Observe func(models.Progress) // told after each update; may be nil
}

// StageLearn is the Stage under which a learner reports its updates.
const StageLearn = "learning maps"

// Learner returns a learner on the device.
func (d *Device) Learner(batches Batches) *Learner { return &Learner{device: d, Batches: batches} }

// blend is the input that holds the share of each model, the same for every
// sample.
const blend = "blend"

// learning is one run of a Learner.
type learning struct {
	descent
	models   []*models.Model // anchor first
	spaces   []graph.Space
	of       []int    // index of the space of each node, -1 for none
	inputs   []string // of a batch: what the network reads, labels if there are any, the shares
	labelled bool
}

// Learn implements fuse.Learner.
func (l *Learner) Learn(ctx context.Context, aligned []*models.Model, spaces []graph.Space) (turns [][]*mat.Dense, err error) {
	if err := l.device.check(); err != nil {
		return nil, err
	}
	if l.Batches == nil {
		return nil, errors.New("gomlx: learning maps: there are no Batches")
	}
	if err := usable(aligned...); err != nil {
		return nil, located("learning maps", err)
	}
	r := l.Config
	if r.Steps == 0 {
		r.Steps = 250
	}
	if r.LR == 0 {
		r.LR = 1e-2
	}
	batch, err := l.Batches(0)
	if err != nil {
		return nil, located("learning maps: batch of step 0", err)
	}
	g := aligned[0].Graph
	run := &learning{models: aligned, spaces: spaces, of: make([]int, len(g.Nodes)), inputs: g.Inputs()}
	if _, run.labelled = batch[models.Labels]; run.labelled {
		run.inputs = append(run.inputs, models.Labels)
	}
	run.inputs = append(run.inputs, blend)
	for i := range run.of {
		run.of[i] = -1
	}
	for k, s := range spaces {
		for _, n := range s.Nodes {
			run.of[n.ID] = k
		}
	}
	run.descent = descent{device: l.device, what: "maps of " + aligned[0].Arch.Class, config: r, loss: run.lossGraph, retract: run.rotations}
	defer func() { err = errors.Join(err, run.close()) }()
	for _, m := range aligned {
		ts, err := upload(m)
		if err != nil {
			return nil, err
		}
		run.fixed = append(run.fixed, ts...)
	}
	if err := run.open(run.identities()); err != nil {
		return nil, err
	}
	return l.run(ctx, run)
}

// run makes the updates and reads the maps back.
func (l *Learner) run(ctx context.Context, run *learning) ([][]*mat.Dense, error) {
	rng := rand.New(rand.NewPCG(l.Seed, 7))
	for step := range run.config.Steps {
		var batches []models.Batch
		for range run.config.Accumulate {
			at := step*run.config.Accumulate + len(batches)
			batch, err := l.Batches(at)
			if err == nil {
				batch, err = fitting(run.models[0], batch)
			}
			if err != nil {
				return nil, located(fmt.Sprintf("learning maps: batch of step %d", at), err)
			}
			batch = maps.Clone(batch)
			batch[blend] = run.draw(batch.Len(), rng)
			batches = append(batches, batch)
		}
		loss, err := run.descend(ctx, run.inputs, batches)
		if err != nil {
			return nil, located("learning maps", err)
		}
		if l.Observe != nil {
			l.Observe(models.Progress{Stage: StageLearn, Done: step + 1, Total: run.config.Steps, Loss: loss})
		}
	}
	return run.turns()
}

// draw draws the shares of the models for n samples [n, models].
func (run *learning) draw(n int, rng *rand.Rand) models.Array {
	row, sum := make([]float32, len(run.models)), float32(0)
	for i := range row {
		row[i] = 0.8 + 0.4*rng.Float32()
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
	return models.Array{Shape: []int{n, len(row)}, Floats: slices.Repeat(row, n)}
}

// turns reads the maps back.
func (run *learning) turns() ([][]*mat.Dense, error) {
	done, err := run.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	out := make([][]*mat.Dense, len(run.models)-1)
	for i, t := range run.params() {
		data, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return nil, fmt.Errorf("gomlx: %w", err)
		}
		s := run.spaces[i%len(run.spaces)]
		n, d := s.Units, s.Units/max(s.Heads, 1)
		turn := mat.NewDense(n, n, nil)
		for k, v := range data { // [blocks, d, d]
			turn.Set(k/(d*d)*d+k/d%d, k/(d*d)*d+k%d, float64(v))
		}
		out[i/len(run.spaces)] = append(out[i/len(run.spaces)], turn)
	}
	return out, nil
}

// identities are the maps to start from, those of each model but the
// anchor in turn: [heads, d, d], and [1, n, n] outside attention.
func (run *learning) identities() []*tensors.Tensor {
	var out []*tensors.Tensor
	for i := range (len(run.models) - 1) * len(run.spaces) {
		s := run.spaces[i%len(run.spaces)]
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

// rotations brings the maps of streams [1, n, n] back to rotations.
func (run *learning) rotations(ws []*gx.Node) []*gx.Node {
	out := make([]*gx.Node, len(ws))
	for i, w := range ws {
		if run.spaces[i%len(run.spaces)].Group != graph.Headwise {
			for range 5 {
				w = straighten(w)
			}
		}
		out[i] = w
	}
	return out
}

// straighten is a step of Newton and Schulz, w (3 − wᵀw)/2, towards the nearest
// rotation [1, n, n] that keeps (1, …, 1). Its derivative at a rotation takes
// from a gradient what leads away from rotations.
func straighten(w *gx.Node) *gx.Node {
	w = gx.Sub(gx.Sub(w, gx.ReduceAndKeep(w, gx.ReduceMean, 1)), gx.ReduceAndKeep(w, gx.ReduceMean, 2))
	w = gx.Add(w, gx.MulScalar(gx.ReduceAndKeep(gx.ReduceAndKeep(w, gx.ReduceMean, 1), gx.ReduceMean, 2), -1))
	gram := gx.Einsum("bki,bkj->bij", w, w)
	w = gx.Sub(gx.MulScalar(w, 1.5), gx.MulScalar(gx.Einsum("bik,bkj->bij", w, gram), 0.5))
	return gx.AddScalar(w, 1/float64(w.Shape().Dim(-1)))
}

// inverse is that of matrices [blocks, d, d], by Newton's iteration x (2 − wx).
// Its derivative is that of the last step, which is that of the inverse.
func inverse(w *gx.Node) *gx.Node {
	size := func(axis int) *gx.Node { // largest sum of magnitudes along an axis
		return gx.ReduceAndKeep(gx.ReduceAndKeep(gx.Abs(w), gx.ReduceSum, axis), gx.ReduceMax, 3-axis)
	}
	x := gx.Div(gx.Transpose(w, 1, 2), gx.Mul(size(1), size(2))) // from where it converges
	next := func() *gx.Node {
		return gx.Sub(gx.MulScalar(x, 2), gx.Einsum("bij,bjk->bik", x, gx.Einsum("bij,bjk->bik", w, x)))
	}
	for range 16 {
		x = next()
	}
	x = gx.StopGradient(x)
	return next()
}

// A turn is the map of a space and that of its dual axes.
type turn struct{ own, dual *gx.Node }

// turn makes both from the parameters of space k.
func (run *learning) turn(k int, w *gx.Node) turn {
	if run.spaces[k].Group != graph.Headwise {
		w = straighten(w)
		return turn{w, w}
	}
	return turn{w, gx.Transpose(inverse(w), 1, 2)}
}

// lossGraph: inputs.., labels, shares, anchor.., others.. and maps → loss.
func (run *learning) lossGraph(in, turns []*gx.Node) *gx.Node {
	g := run.models[0].Graph
	all := names(g)
	k := len(in) - len(run.models)*len(all)
	inputs := zip(run.inputs, in[:k])
	mean, answers := nodes{}, []*gx.Node(nil)
	for i := range run.models {
		own := zip(all, in[k+i*len(all):k+(i+1)*len(all)])
		answers = append(answers, last(interpret(g, own, inputs)))
		if i > 0 {
			to := make([]turn, len(run.spaces))
			for x := range to {
				to[x] = run.turn(x, turns[(i-1)*len(to)+x])
			}
			own = run.moved(own, to)
		}
		at := gx.Squeeze(gx.Slice(inputs[blend], gx.AxisElem(0), gx.AxisElem(i)))
		for _, name := range all {
			w := own[name]
			if mean[name] == nil {
				mean[name] = gx.ZerosLike(w)
			}
			mean[name] = gx.Add(mean[name], gx.Mul(at, w))
		}
	}
	logits := last(interpret(g, mean, inputs))
	target := opinion(answers)
	if !run.labelled {
		return gx.ReduceAllMean(entropies(logits, target))
	}
	labels := inputs[models.Labels]
	target = gx.DivScalar(gx.Add(target, classes(logits, labels)), 2)
	return meanOver(labels, entropies(logits, target))
}

// moved turns the parameters of the other model.
func (run *learning) moved(params nodes, to []turn) nodes {
	parts, along := map[string][]*gx.Node{}, map[string]int{}
	for n, p := range run.models[0].Graph.Params() {
		w := part(params[p.Name], p)
		for k, axis := range p.Axes {
			at := n.Along(axis)
			if at == nil || run.of[at.ID] < 0 {
				continue
			}
			by := to[run.of[at.ID]]
			switch {
			case axis == graph.Gain: // the diagonal of a map: see bySquares in package fuse
				w = turned(w, k, gx.Square(by.own))
			case run.spaces[run.of[at.ID]].Dual(n, axis):
				w = turned(w, k, by.dual)
			default:
				w = turned(w, k, by.own)
			}
		}
		if parts[p.Name] == nil {
			parts[p.Name], along[p.Name] = make([]*gx.Node, max(p.Slice.Of, 1)), p.Slice.Axis
		}
		parts[p.Name][p.Slice.Part] = w
	}
	out := nodes{}
	for name, ws := range parts {
		if out[name] = ws[0]; len(ws) > 1 {
			out[name] = gx.Concatenate(ws, along[name])
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
