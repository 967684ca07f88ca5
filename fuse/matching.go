package fuse

import (
	"context"
	"fmt"
	"math"
	"time"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/interruptible"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/ot"
)

// Matching finds maps among the exact symmetries of an architecture. Each space
// of the flow graph takes one map of its group, which leaves the network as it
// is ([graph.Group]), so the transported source computes what it did before.
// Both models are first brought to their [Canonical] form.
//
// The maps S maximise, one space after the other until nothing moves,
//
//	(1 − Mix) Σ ⟨W_anchor, S(W_source)⟩ / ‖W_anchor‖‖W_source‖  +  Mix Σ ⟨C, S⟩
//
// over layers W and cross moments C of activations. Given all other maps, the
// best map of a space is an assignment, with the better sign of each pair where
// signs are free, or a polar factor (Procrustes), or, for heads, an assignment on
// what the best maps of pairs are worth: a polar factor and its nuclear norm or,
// under rotary positions, a turn of each plane. Queries that share keys are paired
// by turns with the map that all of them take. No update lowers the objective.
//
// Several sources are matched with the anchor first. Then each is matched anew
// with the sum of all other models as they lie, layers and moments alike, until
// nothing moves: the maps lead to a common basis of all.
//
// An anchor of weight 0 in [Settings] lends its shapes alone. Where widths differ, each source
// is then matched with what it has become itself, too, beginning with its units of the largest
// weights: the maps keep the most of the sources that the anchor has room for. That and a
// [Refit] cut a small network out of a large one.
//
// Ainsworth, Hayase and Srinivasa, "Git Re-Basin" (ICLR 2023) for permutations;
// Theus et al., "Generalized linear mode connectivity for transformers" (NeurIPS
// 2025) for the residual stream.
type Matching struct {
	Mix      float64   // share of activations beside weights, 0 to 1; above 0 needs Settings.Calibration
	Rounds   int       // most rounds over all spaces; 0 means 20
	Restarts int       // further starts, from random maps; the best end counts
	Seed     uint64    // of the restarts
	Solver   ot.Solver // of units and heads; nil means ot.EMD: soft plans are not symmetries
	Learner  Learner   // refines the maps; may be nil

	// Inexact lets the Learner rotate residual streams for which that is no
	// symmetry: those that may only be permuted, as in post-norm architectures,
	// and those of a fixed basis, as under fixed positions. The transported
	// model then no longer computes what it did, but the mean of the models
	// loses far less.
	Inexact bool
}

// A Learner refines maps by the loss of models between the aligned ones.
// models/gomlx has one.
type Learner interface {
	// Learn returns a matrix [units × units] for each of the spaces of each of
	// the aligned models but the first, which is the anchor. A residual stream
	// is carried further by the orthogonal matrix nearest to it, heads by the
	// invertible matrix that it holds within each head. All models have the
	// anchor's shapes and are in canonical form.
	Learn(ctx context.Context, aligned []*models.Model, spaces []graph.Space) ([][]*mat.Dense, error)
}

// minGain is the relative gain of a round below which matching has converged.
const minGain = 1e-4

// defaultRounds is the most rounds where Matching.Rounds is 0.
const defaultRounds = 20

// A multiMatcher finds the maps of all sources.
type multiMatcher struct {
	how      Matching
	settings Settings
	anchor   *models.Model // in canonical form
	sources  []*matcher
	lent     bool // the anchor lends nothing but its shapes, which the sources do not have
}

// Align implements [Method]. The anchor of what it returns is in [Canonical]
// form.
func (how Matching) Align(ctx context.Context, anchor *models.Model, others []*models.Model,
	s Settings) (*Aligned, error) {
	started := time.Now()
	if err := how.check(); err != nil {
		return nil, err
	}
	all, err := loadAll(append([]*models.Model{anchor}, others...))
	if err != nil {
		return nil, err
	}
	anchor, others = canonical(all[0]), all[1:]
	u := multiMatcher{how: how, settings: s, anchor: anchor}
	for i, src := range others {
		m, err := newMatcher(how, canonical(src), anchor)
		if err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
		m.momentBytes = momentBytes(s)
		m.progress = func(round int) { s.observe("matching", fmt.Sprintf("model %d", i+1), round, m.how.Rounds) }
		u.sources = append(u.sources, m)
		if err := m.matchAnchor(ctx, s.Calibration); err != nil {
			return nil, fmt.Errorf("model %d: %w", i+1, err)
		}
	}
	u.lent = len(s.Weights) > 0 && s.Weights[0] == 0 && u.unequal()
	if err := u.matchAll(ctx, s.Calibration); err != nil {
		return nil, err
	}
	if err := u.refineByLearner(ctx); err != nil {
		return nil, err
	}
	out, err := u.aligned(ctx)
	if err != nil {
		return nil, err
	}
	took := time.Since(started).Seconds() / float64(len(others)*len(anchor.Graph.Nodes))
	for i := range out.Nodes {
		out.Nodes[i].Seconds = took
	}
	return out, nil
}

// aligned returns the sources as the maps carry them.
func (u *multiMatcher) aligned(ctx context.Context) (*Aligned, error) {
	out := &Aligned{Anchor: u.anchor, Circuits: u.how.Learner == nil}
	unequal := u.unequal()
	if unequal {
		out.Originals = []Original{{Model: u.anchor}}
	}
	for i, m := range u.sources {
		moved, err := m.movedModel(ctx)
		if err != nil {
			return nil, err
		}
		out.Others = append(out.Others, moved.Params)
		if unequal {
			out.Originals = append(out.Originals, m.original())
		}
		for _, n := range m.report(moved) {
			n.Source = i
			out.Nodes = append(out.Nodes, u.settings.kept(n))
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

// loadAll returns models with all their parameters in memory.
func loadAll(ms []*models.Model) (_ []*models.Model, err error) {
	out := make([]*models.Model, len(ms))
	for i, m := range ms {
		if out[i], err = m.Load(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// matchAll matches every source anew with all other models until a round gains
// nothing.
func (u *multiMatcher) matchAll(ctx context.Context, c Calibration) error {
	if len(u.sources) < 2 && !u.lent {
		return nil
	}
	if u.lent {
		if err := u.selectUnits(ctx); err != nil {
			return err
		}
	}
	pairs, err := u.pairMoments(ctx, c)
	if err != nil {
		return err
	}
	for round := range u.sources[0].how.Rounds {
		u.settings.observe("matching", "all models", round, u.sources[0].how.Rounds)
		var gained, all float64
		for i, m := range u.sources {
			if err := u.setTarget(i, pairs); err != nil {
				return err
			}
			before := m.objective
			if err := m.ascend(ctx); err != nil {
				return err
			}
			gained, all = gained+m.objective-before, all+math.Abs(m.objective)
		}
		if gained <= minGain*all {
			break
		}
	}
	return nil
}

// pairMoments collects what activations say about the spaces of every two
// sources, at [i][j] for i < j, and of each beside itself where the anchor is lent.
func (u *multiMatcher) pairMoments(ctx context.Context, c Calibration) ([][][]*mat.Dense, error) {
	out := make([][][]*mat.Dense, len(u.sources))
	for i, m := range u.sources {
		out[i] = make([][]*mat.Dense, len(u.sources))
		for j := i; j < len(u.sources); j++ {
			if j == i && !u.lent {
				continue
			}
			var err error
			if out[i][j], err = m.collect(ctx, c, u.sources[j].src); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// setTarget makes the sum of all other models, as they lie, the target of source i; where the
// anchor is lent, that of all sources.
func (u *multiMatcher) setTarget(i int, pairs [][][]*mat.Dense) error {
	m := u.sources[i]
	target, err := unitNorm(u.anchor)
	if err != nil {
		return err
	}
	m.target, m.moments = target, make([]*mat.Dense, len(m.spaces))
	for k := range m.moments {
		if m.anchorMoments[k] != nil {
			m.moments[k] = mat.DenseCopyOf(m.anchorMoments[k])
		}
	}
	if u.lent {
		clearModel(m.target, m.moments)
	}
	for j, o := range u.sources {
		if j == i && !u.lent {
			continue
		}
		moved, err := o.moved()
		if err == nil {
			moved, err = unitNorm(moved)
		}
		if err != nil {
			return err
		}
		accumulate(m.target.Params, moved.Params, 1)
		for k, s := range m.moments {
			if s == nil {
				continue
			}
			var part mat.Dense
			if i <= j {
				part.Mul(pairs[i][j][k], o.maps[k].dense())
			} else {
				part.Mul(pairs[j][i][k].T(), o.maps[k].dense())
			}
			s.Add(s, &part)
		}
	}
	return nil
}

// refineByLearner refines the maps of the spaces for which there is more than a
// permutation.
func (u *multiMatcher) refineByLearner(ctx context.Context) error {
	if u.how.Learner == nil {
		return nil
	}
	if u.how.Inexact {
		for _, m := range u.sources {
			m.freeFixedStreams()
		}
	}
	var which []int
	var spaces []graph.Space
	for k, s := range u.sources[0].anchorSpaces {
		if s.Group.IsContinuous() || u.how.Inexact && s.IsResidual() {
			which, spaces = append(which, k), append(spaces, s)
		}
	}
	aligned := []*models.Model{u.anchor}
	for _, m := range u.sources {
		moved, err := m.movedModel(ctx)
		if err != nil {
			return err
		}
		aligned = append(aligned, moved)
	}
	refinements, err := u.how.Learner.Learn(ctx, aligned, spaces)
	if err != nil {
		return err
	}
	if len(refinements) != len(u.sources) {
		return fmt.Errorf("Learner %T returned maps of %d models for %d", u.how.Learner, len(refinements), len(u.sources))
	}
	for i, m := range u.sources {
		if len(refinements[i]) != len(which) {
			return fmt.Errorf("Learner %T returned %d maps for %d spaces", u.how.Learner, len(refinements[i]), len(which))
		}
		for x, k := range which {
			refine := func() error { return m.refineMap(k, refinements[i][x]) }
			if err := interruptible.Run(ctx, refine); err != nil {
				return err
			}
		}
	}
	return nil
}
