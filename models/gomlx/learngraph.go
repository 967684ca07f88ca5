package gomlx

import (
	"slices"

	gx "github.com/gomlx/gomlx/core/graph"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

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
	c := criterionOf(run.models[0])
	target := meanAnswer(c, answers, slices.Repeat([]float64{1 / float64(len(answers))}, len(answers)))
	target = gx.StopGradient(target)
	if !run.labelled {
		return gx.ReduceAllMean(c.losses(logits, target))
	}
	labels := inputs[models.Labels]
	target = gx.DivScalar(gx.Add(target, c.target(logits, labels, 0)), 2)
	return meanOver(labels, c.losses(logits, target))
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
