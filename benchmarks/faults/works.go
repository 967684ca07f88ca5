package main

import (
	"context"
	"errors"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
	"github.com/otfuse/otfuse/models/modeltest"
	"github.com/otfuse/otfuse/ot"
)

// solving are large problems of transport.
func solving(moments *rand.Rand) []work {
	const units, width, pairs = 2000, 64, 400
	problem := ot.Problem{Cost: drawn(moments, units, units)}
	few := ot.Problem{Cost: drawn(moments, pairs, pairs)}
	features := ot.Features{X: drawn(moments, units, width), Y: drawn(moments, units, width)}
	quadratic := ot.Quadratic{X: symmetric(moments, pairs/4), Y: symmetric(moments, pairs/4)}
	solve := func(s ot.Solver, p ot.Problem) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.Solve(ctx, p)
			return unlessNotConverged(err)
		}
	}
	return []work{
		{"ot: assignment of 2,000 units", solve(ot.EMD{}, problem)},
		{"ot: network simplex of 400 × 300 units", solve(ot.EMD{},
			ot.Problem{Cost: few.Cost.(*mat.Dense).Slice(0, pairs, 0, 3*pairs/4)})},
		{"ot: Sinkhorn of 2,000 units", solve(ot.Sinkhorn{Reg: 0.01, MaxIter: 100}, problem)},
		{"ot: unbalanced, 2,000 units", solve(ot.Unbalanced{Reg: 0.01, Penalty: 1, MaxIter: 100}, problem)},
		{"ot: half of the mass of 400 units", solve(ot.Partial{Share: 0.5}, few)},
		{"ot: Sinkhorn by features of 2,000 units", func(ctx context.Context) error {
			_, err := ot.Sinkhorn{Reg: 0.05, MaxIter: 20}.SolveFeatures(ctx, features)
			return unlessNotConverged(err)
		}},
		{"ot: Gromov-Wasserstein of 100 units", func(ctx context.Context) error {
			_, _, err := ot.GromovWasserstein{}.Solve(ctx, quadratic)
			return unlessNotConverged(err)
		}},
	}
}

// unlessNotConverged drops the error of a solver that has done all its iterations.
func unlessNotConverged(err error) error {
	if _, is := errors.AsType[*ot.NotConvergedError](err); is {
		return nil
	}
	return err
}

// drawn is a matrix of numbers from 0 to 1.
func drawn(moments *rand.Rand, n, m int) *mat.Dense {
	out := mat.NewDense(n, m, nil)
	for i := range n {
		for j := range m {
			out.Set(i, j, moments.Float64())
		}
	}
	return out
}

// symmetric is a symmetric one.
func symmetric(moments *rand.Rand, n int) *mat.Dense {
	a := drawn(moments, n, n)
	var out mat.Dense
	out.Add(a, a.T())
	return &out
}

// A pair is two networks with what they are fused, trained and scored on.
type pair struct {
	device  *gomlx.Device
	anchor  *models.Model
	others  []*models.Model
	batch   models.Batch // samples with labels
	batches gomlx.Batches
}

// openPair draws a pair of ViTs of 4 layers, 256 wide.
func openPair(ctx context.Context) (*pair, error) {
	d, err := gomlx.Open(ctx, nil)
	if err != nil {
		return nil, err
	}
	c := models.ViTConfig{Hidden: 256, Layers: 4, Heads: 4, MLP: 1024, Act: "gelu", Eps: 1e-6, Image: 32, Patch: 8,
		Channels: 3}
	p := &pair{device: d}
	for seed := range uint64(2) {
		m, err := models.Fresh(models.ViT(), c, seed, 0.05)
		if err != nil {
			return nil, err
		}
		p.others = append(p.others, m)
	}
	p.anchor, p.others = p.others[0], p.others[1:]
	if p.batch, err = modeltest.Batch(p.anchor, 128, 1); err != nil {
		return nil, err
	}
	p.batches = func(step int) (models.Batch, error) { return modeltest.Batch(p.anchor, 4, uint64(step)) }
	return p, nil
}

// networks are what is done with networks.
func (p *pair) networks() []work {
	const steps = 20
	calibration := p.device.Calibration(p.batch.Slice(0, 32), align.All{})
	learner := p.device.Learner(p.batches)
	learner.Config.Steps = steps
	distiller := p.device.Distiller(p.batches)
	distiller.Config.Steps = steps
	into := func(m fuse.Method, s fuse.Settings) func(context.Context) error {
		return func(ctx context.Context) error {
			_, _, err := fuse.Into(ctx, p.anchor, p.others, m, &s)
			return err
		}
	}
	refit := fuse.Settings{Calibration: calibration, Refit: &fuse.Refit{Ridge: 0.1}}
	return []work{
		{"fuse: transport by weights", into(fuse.Transport{}, fuse.Settings{})},
		{"fuse: transport by activations", into(fuse.Transport{}, fuse.Settings{Calibration: calibration})},
		{"fuse: matching by weights", into(fuse.Matching{}, fuse.Settings{})},
		{"fuse: matching", into(fuse.Matching{}, fuse.Settings{Calibration: calibration})},
		{"fuse: vanilla, refit", into(fuse.Vanilla{}, refit)},
		{"fuse: learned matching", into(fuse.Matching{Learner: learner}, fuse.Settings{})},
		{"fuse: distillation", into(fuse.Distil{Distiller: distiller}, fuse.Settings{})},
		{"gomlx: calibration", func(ctx context.Context) error {
			_, err := calibration.Collect(ctx, p.others[0], p.anchor, everyLayer(p.anchor))
			return err
		}},
		{"gomlx: scoring", func(ctx context.Context) error {
			_, err := p.device.Evaluate(ctx, p.batch, 8, p.anchor)
			return err
		}},
		{"gomlx: training", p.train},
	}
}

// everyLayer asks for the moments of every layer.
func everyLayer(m *models.Model) align.Request {
	var out align.Request
	for _, n := range m.Graph.Nodes {
		if n.Op == graph.Linear {
			out.Sites = append(out.Sites, []*graph.Node{n})
		}
	}
	return out
}

// train makes some updates.
func (p *pair) train(ctx context.Context) error {
	t, err := p.device.Trainer(p.anchor, gomlx.TrainConfig{Steps: 20, LR: 1e-3})
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }() // the training is thrown away
	return gomlx.Fit(ctx, t, p.batches, gomlx.FitOptions{})
}
