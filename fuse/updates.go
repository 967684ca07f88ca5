package fuse

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
)

// An update finds the best maps of spaces that belong together: one space, or
// queries with keys, and values, of one attention, whose heads move together.
type update struct {
	m     *matcher
	which []int // indices of the spaces
}

// updates lists the updates of a round: residual streams first, since they
// touch every layer, then the others in order.
func (m *matcher) updates() []update {
	var streams, rest []update
	heads := map[*graph.Node]int{}
	for k, s := range m.spaces {
		if s.Group == graph.Trivial {
			continue
		}
		u := update{m, []int{k}}
		if !s.Group.WithinHeads() {
			if s.IsResidual() {
				streams = append(streams, u)
			} else {
				rest = append(rest, u)
			}
			continue
		}
		if i, ok := heads[s.Attend]; ok {
			rest[i].which = append(rest[i].which, k)
			continue
		}
		heads[s.Attend] = len(rest)
		rest = append(rest, u)
	}
	return append(streams, rest...)
}

// parallelUpdates have no layer in common: none sees what the others do, so they
// are made side by side.
type parallelUpdates []update

// schedule groups the updates of a round into runs of parallel ones, in order.
func (m *matcher) schedule() (out []parallelUpdates) {
	var last parallelUpdates
	taken := map[int]bool{}
	for _, u := range m.updates() {
		layers := u.touchedNodes()
		if slices.ContainsFunc(layers, func(i int) bool { return taken[i] }) {
			out, last = append(out, last), nil
			clear(taken)
		}
		last = append(last, u)
		for _, i := range layers {
			taken[i] = true
		}
	}
	return append(out, last)
}

// touchedNodes lists the nodes whose parameters lie in spaces of the update.
func (u update) touchedNodes() (out []int) {
	for i, n := range u.m.src.Graph.Nodes {
		if slices.ContainsFunc(n.Params, func(p graph.Param) bool {
			return slices.ContainsFunc(p.Axes, func(a graph.Axis) bool { return slices.Contains(u.which, u.m.spaceOf(n, a)) })
		}) {
			out = append(out, i)
		}
	}
	return out
}

// ascend replaces the maps by the best ones, all other maps given. Where models are not in
// memory, one update is made at a time, since each holds the matrices of its site.
func (w parallelUpdates) ascend(ctx context.Context) error {
	gained, errs := make([]float64, len(w)), make([]error, len(w))
	workers := runtime.GOMAXPROCS(0)
	if w[0].m.src.Params == nil {
		workers = 1
	}
	tokens := make(chan struct{}, workers)
	var wg sync.WaitGroup
	for i, u := range w {
		tokens <- struct{}{}
		wg.Go(func() {
			defer func() { <-tokens }()
			if errs[i] = ctx.Err(); errs[i] == nil {
				gained[i], errs[i] = u.ascend(ctx)
			}
		})
	}
	wg.Wait()
	for i, u := range w {
		if errs[i] != nil {
			return errs[i]
		}
		u.m.objective += gained[i]
	}
	return nil
}

// ascend replaces the maps of the update by the best ones and returns what is gained.
func (u update) ascend(ctx context.Context) (float64, error) {
	var slopes []slope
	for _, k := range u.which {
		d, err := u.m.derivative(ctx, k)
		if err != nil {
			return 0, err
		}
		slopes = append(slopes, d)
	}
	maps, err := u.best(ctx, slopes)
	if err != nil {
		return 0, err
	}
	return u.replace(slopes, maps), nil
}

// replace replaces the maps of the update by others and returns what is gained. Queries that
// share keys are matched by turns, which may end at less than there was: then the maps stay.
func (u update) replace(slopes []slope, maps []*mat.Dense) float64 {
	gained, known, found := 0.0, true, make([]*unitMap, len(maps))
	for x, k := range u.which {
		found[x] = newUnitMap(maps[x])
		gained += slopes[x].worth(found[x])
		if known = known && u.m.maps[k] != nil; u.m.maps[k] != nil {
			gained -= slopes[x].worth(u.m.maps[k])
		}
	}
	if known && gained < 0 && u.m.spaces[u.which[0]].Shared > 1 {
		return 0
	}
	for x, k := range u.which {
		u.m.maps[k] = found[x]
	}
	return gained
}

// randomise replaces the maps by random ones of the group.
func (u update) randomise(rng *rand.Rand) {
	slopes := make([]slope, len(u.which))
	for i, k := range u.which {
		slopes[i] = u.m.newSlope(k)
		for _, g := range []*mat.Dense{slopes[i].maps, slopes[i].magnitudes} {
			if g != nil {
				g.Apply(func(_, _ int, _ float64) float64 { return rng.NormFloat64() }, g)
			}
		}
	}
	maps, err := u.best(context.Background(), slopes)
	if err != nil {
		return // normal numbers have a best map
	}
	for i, k := range u.which {
		u.m.maps[k] = newUnitMap(maps[i])
	}
}
