package modeltest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// How far logits may be from each other relative to their spread, and parameters
// from each other.
const (
	exact   = 1e-9 // where the same weights are summed in another order, in float64
	rounded = 1e-4 // where maps were multiplied into weights, which are float32
	carried = 1e-6 // of parameters that exact transport carried there and back
)

// graphLaw: every part of every tensor belongs to one node. That every node is
// read is checked when a graph is built.
func graphLaw(_ context.Context, s subject, _ string) error {
	var errs []error
	claimed, parts := map[string]map[int]string{}, map[string]int{}
	for n, p := range s.model.Graph.Params() {
		if p.Name == "" {
			errs = append(errs, fmt.Errorf("%s %s has a parameter without a name", n.Op, n.Name))
		}
		if claimed[p.Name] == nil {
			claimed[p.Name], parts[p.Name] = map[int]string{}, max(p.Slice.Of, 1)
		}
		if other, ok := claimed[p.Name][p.Slice.Part]; ok {
			errs = append(errs, fmt.Errorf("tensor %q: part %d belongs to %s and to %s", p.Name, p.Slice.Part, other, n.Name))
		}
		claimed[p.Name][p.Slice.Part] = n.Name
	}
	for name, of := range parts {
		if len(claimed[name]) != of {
			errs = append(errs, fmt.Errorf("tensor %q: %d of %d parts belong to a node: the others would stay where they are",
				name, len(claimed[name]), of))
		}
	}
	return errors.Join(errs...)
}

// relabellingLaw: the order of units does not matter to what a network computes,
// but for the order of its features.
func relabellingLaw(ctx context.Context, s subject, _ string) error {
	for seed := range uint64(3) {
		r, err := Relabel(s.model.Graph, seed)
		if err != nil {
			return err
		}
		moved, err := r.Apply(ctx, s.model)
		if err != nil {
			return err
		}
		if d := apart(outputsIn(s.model, s.batch, r.push), Outputs(moved, s.batch)); !(d <= exact*s.spread()) {
			return fmt.Errorf("units in another order move the logits by %.2g: an axis of a parameter or a group is wrong", d)
		}
		for n, p := range s.model.Graph.Params() {
			should := slices.ContainsFunc(p.Axes, func(a graph.Axis) bool { return r.moves(n, a) })
			if should && slices.Equal(s.model.Params[p.Name].Data, moved.Params[p.Name].Data) {
				return fmt.Errorf("tensor %q stays as it is under a relabelling of its units", p.Name)
			}
		}
	}
	return nil
}

// mutationsLaw: a permutation that leaves out one axis changes the logits. So the
// relabelling law would notice if the axis were declared wrongly.
func mutationsLaw(ctx context.Context, s subject, _ string) error {
	r, err := Relabel(s.model.Graph, 5)
	if err != nil {
		return err
	}
	var errs []error
	for _, u := range mutations(s.model.Graph, r) {
		d, err := u.effect(ctx, s.model, r, s)
		switch hidden := u.hidden(s.model.Graph); {
		case err != nil:
			return err
		case hidden && !(d <= exact*s.spread()):
			errs = append(errs, fmt.Errorf("%s is a bias of keys, which softmax cannot see, and moves the logits by %.2g", u, d))
		case !hidden && !(d > rounded):
			errs = append(errs, fmt.Errorf("%s could be wrong unnoticed: without it the logits move by %.2g", u, d))
		}
	}
	return errors.Join(errs...)
}

// recoveryLaw: exact transport finds the units of a model in a copy of it whose
// units are in another order.
func recoveryLaw(ctx context.Context, s subject, _ string) error {
	moved, err := Relabelled(ctx, s.model, 7)
	if err != nil {
		return err
	}
	exactly := align.Units{Features: align.Weights{}, Metric: ot.Scaled{Metric: ot.Euclidean{}, By: ot.ScaleMax{}},
		Solver: ot.EMD{}}
	for name, qk := range map[string]fuse.QK{"separate": fuse.Separate, "shared": fuse.Shared, "joint": fuse.Joint} {
		aligned, _, err := fuse.Align(ctx, s.model, []*models.Model{moved}, fuse.Transport{Aligner: exactly, QK: qk}, nil)
		if err != nil {
			return err
		}
		for tensor, want := range s.model.Params {
			if d := apart(want.Data, aligned.Others[0][tensor].Data); !(d <= carried) {
				return fmt.Errorf("transport with %s queries and keys brings tensor %q of a relabelled copy back %.2g off",
					name, tensor, d)
			}
		}
	}
	return nil
}

// matchingLaw: matching changes the basis of a model and not what it computes, and
// it recovers a relabelled copy.
func matchingLaw(ctx context.Context, s subject, _ string) error {
	other, err := Random(s.arch, s.config, 2)
	if err != nil {
		return err
	}
	kept := &fuse.Settings{KeepMaps: true}
	aligned, report, err := fuse.Align(ctx, s.model, []*models.Model{other}, fuse.Matching{}, kept)
	if err != nil {
		return err
	}
	if d := apart(s.outputs, Outputs(aligned.Anchor, s.batch)); !(d <= rounded*s.spread()) {
		return fmt.Errorf("the canonical form moves the logits by %.2g", d)
	}
	matched := aligned.Anchor.With(aligned.Others[0])
	push := func(n *graph.Node) *mat.Dense {
		if s.model.Graph.HasLogits() {
			return nil
		}
		return report.Nodes[n.ID].Push() // matching reports on every node
	}
	if d := apart(outputsIn(other, s.batch, push), Outputs(matched, s.batch)); !(d <= rounded*s.spread()) {
		return fmt.Errorf("matching moves the logits by %.2g: a group holds more than the network bears", d)
	}
	moved, err := Relabelled(ctx, s.model, 3)
	if err != nil {
		return err
	}
	fused, _, err := fuse.Into(ctx, s.model, []*models.Model{moved}, fuse.Matching{}, nil)
	if err != nil {
		return err
	}
	if d := apart(s.outputs, Outputs(fused, s.batch)); !(d <= rounded*s.spread()) {
		return fmt.Errorf("a model matched with a relabelled copy of itself has logits %.2g off", d)
	}
	return nil
}

// weightsLaw: an anchor of weight 1 is the result, the mean of a model with itself
// is the model, and the order of the other models does not matter.
func weightsLaw(ctx context.Context, s subject, _ string) error {
	var others []*models.Model
	for seed := range uint64(2) {
		m, err := Random(s.arch, s.config, seed+2)
		if err != nil {
			return err
		}
		others = append(others, m)
	}
	fused := func(m fuse.Method, weights []float64, others ...*models.Model) models.Params {
		f, _, err := fuse.Into(ctx, s.model, others, m, &fuse.Settings{Weights: weights})
		if err != nil {
			return nil // as far from all others as can be
		}
		return f.Params
	}
	same := func(p models.Params, tol float64) bool {
		for name, want := range s.model.Params {
			if !(apart(want.Data, p[name].Data) <= tol) {
				return false
			}
		}
		return true
	}
	switch {
	case !same(fused(fuse.Transport{}, []float64{1, 0, 0}, others...), 0):
		return errors.New("weight 1 of the anchor is not the anchor")
	case !same(fused(fuse.Vanilla{}, nil, s.model, s.model), carried):
		return errors.New("the mean of a model with itself is not the model")
	}
	one, two := fused(fuse.Transport{}, nil, others[0], others[1]), fused(fuse.Transport{}, nil, others[1], others[0])
	for name := range s.model.Params {
		if d := apart(one[name].Data, two[name].Data); !(d <= carried) {
			return fmt.Errorf("tensor %q depends on the order of models: %.2g", name, d)
		}
	}
	return nil
}
