package fuse

import (
	"context"
	"fmt"
	"math"
	"time"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// Matching finds maps among the exact symmetries of an architecture: each space
// of the flow graph has one map, of the group that leaves the network as it is
// ([graph.Group]), so that the transported source computes what it did before.
// Both models are brought to their [Canonical] form first.
//
// The maps S maximise, one space after the other until nothing moves,
//
//	(1 − Mix) Σ ⟨W_anchor, S(W_source)⟩ / ‖W_anchor‖‖W_source‖  +  Mix Σ ⟨C, S⟩
//
// over layers W and cross moments C of activations. The best map of a space,
// all others given, is an assignment, a polar factor (Procrustes), or, for
// heads, an assignment on nuclear norms and a polar factor within each pair; so
// no update lowers the objective. Of several sources each is then matched anew
// with the sum of all other models as they lie, layers and moments alike, until
// nothing moves: the maps of a common basis (universe matching). Ainsworth, Hayase and Srinivasa, "Git
// re-basin" (ICLR 2023) for permutations; Theus et al., "Generalized linear
// mode connectivity for transformers" (NeurIPS 2025) for the stream.
type Matching struct {
	Mix      float64   // share of activations beside weights, 0 to 1; above 0 needs Settings.Calibration
	Rounds   int       // most rounds; 0 means 20
	Restarts int       // further starts, from random maps; the best end counts
	Seed     uint64    // of the restarts
	Solver   ot.Solver // of units and heads; nil means ot.EMD: soft plans are no symmetries
	Learner  Learner   // refines the maps; may be nil

	// Inexact lets the Learner turn residual streams too that may only be
	// permuted, as in post-norm architectures, or not be moved at all, as under
	// fixed positions. What is transported then no longer computes what it did,
	// but the mean of the models loses far less.
	Inexact bool
}

// A Learner refines maps by what models between the aligned ones lose.
// models/gomlx has one.
type Learner interface {
	// Learn returns, for each of the aligned models but the first, which is the
	// anchor, a matrix [units × units] for each of the spaces: one by whose
	// nearest rotation a stream is turned further, and for a space of Heads an
	// invertible one within each head. All models have the anchor's shapes
	// and are in canonical form.
	Learn(ctx context.Context, aligned []*models.Model, spaces []graph.Space) ([][]*mat.Dense, error)
}

// still is the gain of a round, relative to the objective, that is none.
const still = 1e-4

// universe holds the maps of all sources.
type universe struct {
	Matching
	settings Settings
	anchor   *models.Model // canonical
	sources  []*matcher
}

// Align implements [Method]. The anchor of what it returns is in [Canonical]
// form.
func (how Matching) Align(ctx context.Context, anchor *models.Model, others []*models.Model, s Settings) (*Aligned, error) {
	started := time.Now()
	if err := how.check(); err != nil {
		return nil, err
	}
	all, err := loaded(append([]*models.Model{anchor}, others...))
	if err != nil {
		return nil, err
	}
	anchor, others = canonical(all[0]), all[1:]
	u := universe{Matching: how, settings: s, anchor: anchor}
	for i, src := range others {
		m := newMatcher(u.Matching, canonical(src), anchor)
		m.progress = func(round int) { s.observe("matching", fmt.Sprintf("model %d", i+1), round, m.Rounds) }
		u.sources = append(u.sources, m)
		if err := m.find(ctx, s.Calibration); err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
	}
	if err := u.settle(ctx, s.Calibration); err != nil {
		return nil, err
	}
	if err := u.learn(ctx); err != nil {
		return nil, err
	}
	out := &Aligned{Anchor: anchor}
	took := time.Since(started) / time.Duration(len(others)*len(anchor.Graph.Nodes))
	for i, m := range u.sources {
		moved := m.move()
		out.Others = append(out.Others, moved.Params)
		for _, n := range m.report(moved) {
			n.Source, n.Duration = i, took
			out.Nodes = append(out.Nodes, s.kept(n))
		}
	}
	return out, nil
}

// check reports the first field that is out of range.
func (how Matching) check() error {
	switch {
	case !(how.Mix >= 0 && how.Mix <= 1):
		return fmt.Errorf("Matching.Mix is %g, want 0 to 1", how.Mix)
	case how.Rounds < 0:
		return fmt.Errorf("Matching.Rounds is %d, want at least 0", how.Rounds)
	case how.Restarts < 0:
		return fmt.Errorf("Matching.Restarts is %d, want at least 0", how.Restarts)
	}
	return nil
}

// loaded returns models with all their parameters in memory.
func loaded(ms []*models.Model) (_ []*models.Model, err error) {
	out := make([]*models.Model, len(ms))
	for i, m := range ms {
		if out[i], err = m.Load(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// settle matches every source with all other models until nothing moves.
func (u *universe) settle(ctx context.Context, c Calibration) error {
	if len(u.sources) < 2 {
		return nil
	}
	pairs, err := u.pairs(ctx, c)
	if err != nil {
		return err
	}
	for round := range u.sources[0].Rounds {
		u.settings.observe("matching", "all models", round, u.sources[0].Rounds)
		var gained, all float64
		for i, m := range u.sources {
			u.face(i, pairs)
			before := m.objective
			if err := m.climb(ctx); err != nil {
				return err
			}
			gained, all = gained+m.objective-before, all+math.Abs(m.objective)
		}
		if gained <= still*all {
			break
		}
	}
	return nil
}

// pairs gathers what activations say about the spaces of every two sources, at
// [i][j] for i < j.
func (u *universe) pairs(ctx context.Context, c Calibration) ([][][]*mat.Dense, error) {
	out := make([][][]*mat.Dense, len(u.sources))
	for i, m := range u.sources {
		out[i] = make([][]*mat.Dense, len(u.sources))
		for j := i + 1; j < len(u.sources); j++ {
			var err error
			if out[i][j], err = m.collect(ctx, c, u.sources[j].src); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// face sets source i against the sum of all other models as they lie.
func (u *universe) face(i int, pairs [][][]*mat.Dense) {
	m := u.sources[i]
	m.target, m.moments = directions(u.anchor), make([]*mat.Dense, len(m.spaces))
	for k := range m.moments {
		if m.own[k] != nil {
			m.moments[k] = mat.DenseCopyOf(m.own[k])
		}
	}
	for j, o := range u.sources {
		if j == i {
			continue
		}
		accumulate(m.target, directions(u.anchor.With(o.moved())), 1)
		for k, s := range m.moments {
			if s == nil {
				continue
			}
			var part mat.Dense
			if i < j {
				part.Mul(pairs[i][j][k], o.maps[k])
			} else {
				part.Mul(pairs[j][i][k].T(), o.maps[k])
			}
			s.Add(s, &part)
		}
	}
}

// learn refines the maps of the spaces that may turn.
func (u *universe) learn(ctx context.Context) error {
	if u.Learner == nil {
		return nil
	}
	if u.Inexact {
		for _, m := range u.sources {
			m.unpin()
		}
	}
	var which []int
	var spaces []graph.Space
	for k, s := range u.sources[0].wide {
		if s.Group != graph.Trivial && s.Group != graph.Permutation || u.Inexact && s.IsResidual() {
			which, spaces = append(which, k), append(spaces, s)
		}
	}
	aligned := []*models.Model{u.anchor}
	for _, m := range u.sources {
		aligned = append(aligned, m.move())
	}
	turns, err := u.Learner.Learn(ctx, aligned, spaces)
	if err != nil {
		return err
	}
	if len(turns) != len(u.sources) {
		return fmt.Errorf("the learner returned maps of %d models for %d", len(turns), len(u.sources))
	}
	for i, m := range u.sources {
		if len(turns[i]) != len(which) {
			return fmt.Errorf("the learner returned %d maps for %d spaces", len(turns[i]), len(which))
		}
		for x, k := range which {
			if err := m.turn(k, turns[i][x]); err != nil {
				return err
			}
		}
	}
	return nil
}
