package gomlx

import (
	"cmp"
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
// weighted means of the aligned models. It is a fuse.Learner, made by
// [Device.Learner].
//
// Each update draws weights of the models from 0.8 to 1.2 and divides them by
// their sum; those of two models lie between 0.4 and 0.6. The loss is the
// cross-entropy of the mean model with the mean of the probabilities that the
// models answer or, where the first batch has labels, half with that and half with
// the labels. Only rotations of residual streams and invertible maps within heads
// change, so the models compute what they did before, fuse.Matching.Inexact aside.
//
// Theus et al., "Generalized linear mode connectivity for transformers" (NeurIPS
// 2025).
type Learner struct {
	device *Device

	Config  TrainConfig           // Steps 0 means 250, LR 0 means 1e-2
	Seed    uint64                // of the weights that are drawn
	Batches Batches               // of the inputs of the models, with labels or without
	Observe func(models.Progress) // told after each update; nil for nobody
}

// StageLearn is the Stage under which a [Learner] reports.
const StageLearn = "learning maps"

// Learner returns a learner on the device.
func (d *Device) Learner(batches Batches) *Learner { return &Learner{device: d, Batches: batches} }

// weightsInput is the name under which a batch holds the weights of the models,
// [samples, models], the same for every sample.
const weightsInput = "weights of the models"

// A learningRun is one call of Learn. Its parameters are the maps of each model
// but the anchor in turn, one for each space.
type learningRun struct {
	optimizer
	models   []*models.Model // anchor first
	spaces   []graph.Space
	of       []int    // index of the space of each node, -1 for none
	inputs   []string // of a batch: what the network reads, labels if there are any, the weights
	labelled bool
}

// Learn implements fuse.Learner: it returns for each model but the anchor, the
// first, the map [n × n] of every space.
func (l *Learner) Learn(
	ctx context.Context, aligned []*models.Model, spaces []graph.Space,
) (maps [][]*mat.Dense, err error) {
	if err := l.device.check(); err != nil {
		return nil, err
	}
	if l.Batches == nil {
		return nil, located(StageLearn, errors.New("there are no Batches"))
	}
	if err := usable(aligned...); err != nil {
		return nil, located(StageLearn, err)
	}
	run, err := l.start(aligned, spaces)
	if err != nil {
		return nil, located(StageLearn, err)
	}
	defer func() { err = errors.Join(err, run.close()) }()
	if err := l.updates(ctx, run); err != nil {
		return nil, located(StageLearn, err)
	}
	return run.maps()
}

// start readies a run.
func (l *Learner) start(aligned []*models.Model, spaces []graph.Space) (*learningRun, error) {
	g := aligned[0].Graph
	if !g.HasLogits() {
		return nil, fmt.Errorf("%s puts out features, and what is learned from are logits", aligned[0].Arch.Class)
	}
	first, err := l.Batches(0)
	if err != nil {
		return nil, located("batch of step 0", err)
	}
	run := &learningRun{models: aligned, spaces: spaces, of: make([]int, len(g.Nodes)), inputs: g.Inputs()}
	if _, run.labelled = first[models.Labels]; run.labelled {
		run.inputs = append(run.inputs, models.Labels)
	}
	run.inputs = append(run.inputs, weightsInput)
	for i := range run.of {
		run.of[i] = -1
	}
	for k, s := range spaces {
		for _, n := range s.Nodes {
			run.of[n.ID] = k
		}
	}
	c := l.Config
	c.Steps, c.LR = cmp.Or(c.Steps, 250), cmp.Or(c.LR, 1e-2)
	run.optimizer = optimizer{device: l.device, what: "maps of " + aligned[0].Arch.Class, config: c,
		loss: run.lossGraph, retract: run.retracted}
	for _, m := range aligned {
		params, err := upload(m)
		if err != nil {
			return nil, errors.Join(err, run.release())
		}
		run.fixed = append(run.fixed, params...)
	}
	if err := run.prepare(run.identities()); err != nil {
		return nil, errors.Join(err, run.release())
	}
	return run, nil
}

// updates makes all updates of a run.
func (l *Learner) updates(ctx context.Context, run *learningRun) error {
	random := rand.New(rand.NewPCG(l.Seed, 7))
	for step := range run.config.Steps {
		batches := make([]models.Batch, run.config.Accumulate)
		for i := range batches {
			at := step*len(batches) + i
			batch, err := l.Batches(at)
			if err == nil {
				batch, err = completed(run.models[0], batch)
			}
			if err != nil {
				return located(fmt.Sprintf("batch of step %d", at), err)
			}
			batches[i] = maps.Clone(withTargets(run.models[0], batch))
			batches[i][weightsInput] = run.drawWeights(batch.Len(), random)
		}
		loss, err := run.update(ctx, run.inputs, batches)
		if err != nil {
			return err
		}
		if l.Observe != nil {
			l.Observe(models.Progress{Stage: StageLearn, Done: step + 1, Total: run.config.Steps, Loss: loss})
		}
	}
	return nil
}

// drawWeights draws weights of the models for n samples [n, models].
func (run *learningRun) drawWeights(n int, random *rand.Rand) models.Array {
	row, sum := make([]float32, len(run.models)), float32(0)
	for i := range row {
		row[i] = 0.8 + 0.4*random.Float32()
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
	return models.Array{Shape: []int{n, len(row)}, Floats: slices.Repeat(row, n)}
}

// maps reads the maps back.
func (run *learningRun) maps() ([][]*mat.Dense, error) {
	done, err := run.acquire()
	if err != nil {
		return nil, err
	}
	defer done()
	out := make([][]*mat.Dense, len(run.models)-1)
	for i, t := range run.params() {
		data, err := tensors.CopyFlatData[float32](t)
		if err != nil {
			return nil, located(StageLearn, err)
		}
		s := run.spaces[i%len(run.spaces)]
		n, d, shared := s.Units, s.Units/max(s.Heads, 1), max(s.Shared, 1)
		m := mat.NewDense(n, n, nil)
		for k, v := range data { // [blocks, d, d]
			for h := range shared {
				at := (k/(d*d)*shared + h) * d
				m.Set(at+k/d%d, at+k%d, float64(v))
			}
		}
		out[i/len(run.spaces)] = append(out[i/len(run.spaces)], m)
	}
	return out, nil
}

// identities are the maps to start from, [heads of keys and values, d, d] within
// attention and [1, n, n] elsewhere.
func (run *learningRun) identities() []*tensors.Tensor {
	var out []*tensors.Tensor
	for i := range (len(run.models) - 1) * len(run.spaces) {
		s := run.spaces[i%len(run.spaces)]
		blocks, d := max(s.Heads, 1)/max(s.Shared, 1), s.Units/max(s.Heads, 1)
		eye := make([]float32, blocks*d*d)
		for k := range blocks * d {
			eye[k/d*d*d+k%d*d+k%d] = 1
		}
		out = append(out, tensors.FromFlatDataAndDimensions(eye, blocks, d, d))
	}
	return out
}

// retracted brings the maps of residual streams [1, n, n] back to rotations.
func (run *learningRun) retracted(ws []*gx.Node) []*gx.Node {
	out := make([]*gx.Node, len(ws))
	for i, w := range ws {
		if group := run.spaces[i%len(run.spaces)].Group; !group.WithinHeads() {
			for range 5 {
				w = orthogonalize(group, w)
			}
		}
		out[i] = w
	}
	return out
}

// A turn is the map of a space and that of its dual axes.
type turn struct{ own, dual *gx.Node }

// turn makes both from the parameters of space k.
func (run *learningRun) turn(k int, w *gx.Node) turn {
	s := run.spaces[k]
	if !s.Group.WithinHeads() {
		w = orthogonalize(s.Group, w)
		return turn{w, w}
	}
	if s.Group == graph.HeadPlanes {
		w = complexPlanes(w, s.Planes)
	}
	return turn{w, gx.Transpose(inverse(w), 1, 2)}
}

// lossGraph: inputs.., labels, weights, anchor.., others.. and maps → loss.
func (run *learningRun) lossGraph(in, turns []*gx.Node) *gx.Node {
	g := run.models[0].Graph
	all := tensorNames(g)
	k := len(in) - len(run.models)*len(all)
	inputs := byName(run.inputs, in[:k])
	mean, answers := nodes{}, []*gx.Node(nil)
	for i := range run.models {
		own := byName(all, in[k+i*len(all):k+(i+1)*len(all)])
		answers = append(answers, logitsOf(interpret(g, own, inputs)))
		if i > 0 {
			to := make([]turn, len(run.spaces))
			for x := range to {
				to[x] = run.turn(x, turns[(i-1)*len(to)+x])
			}
			own = run.moved(own, to)
		}
		at := gx.Squeeze(gx.Slice(inputs[weightsInput], gx.AxisElem(0), gx.AxisElem(i)))
		for _, name := range all {
			w := own[name]
			if mean[name] == nil {
				mean[name] = gx.ZerosLike(w)
			}
			mean[name] = gx.Add(mean[name], gx.Mul(at, w))
		}
	}
	logits := logitsOf(interpret(g, mean, inputs))
	target := meanProbabilities(answers, slices.Repeat([]float64{1 / float64(len(answers))}, len(answers)))
	if !run.labelled {
		return gx.ReduceAllMean(crossEntropies(logits, target))
	}
	labels := inputs[models.Labels]
	target = gx.DivScalar(gx.Add(target, oneHotLabels(logits, labels)), 2)
	return meanOver(labels, crossEntropies(logits, target))
}

// moved turns the parameters of the other model.
func (run *learningRun) moved(params nodes, to []turn) nodes {
	parts, along := map[string][]*gx.Node{}, map[string]graph.Slice{}
	for n, p := range run.models[0].Graph.Params() {
		w := part(params[p.Name], p)
		for k, axis := range p.Axes {
			at := n.Along(axis)
			if at == nil || run.of[at.ID] < 0 {
				continue
			}
			by, s := to[run.of[at.ID]], run.spaces[run.of[at.ID]]
			turn := by.own
			switch {
			case axis == graph.Gain: // the diagonal of a map: see bySquares in package fuse
				turn = gx.Square(turn)
			case s.Dual(n, axis):
				turn = by.dual
			}
			if s.Shared > 1 && s.Copies(at) == 1 {
				turn = repeated(turn, s.Shared)
			}
			w = turned(w, k, turn)
		}
		if parts[p.Name] == nil {
			parts[p.Name], along[p.Name] = make([]*gx.Node, max(p.Slice.Of, 1)), p.Slice
		}
		parts[p.Name][p.Slice.Part] = w
	}
	out := nodes{}
	for name, ws := range parts {
		out[name] = whole(ws, along[name])
	}
	return out
}

// repeated returns each of the maps [blocks, d, d] so often in a row, as the heads of
// queries take it that share a head of keys.
func repeated(turn *gx.Node, times int) *gx.Node {
	blocks, d := turn.Shape().Dim(0), turn.Shape().Dim(1)
	return gx.Reshape(gx.BroadcastToDims(gx.InsertAxes(turn, 1), blocks, times, d, d), blocks*times, d, d)
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
