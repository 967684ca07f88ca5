package fuse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// stream implements [streamer]: where two models are on disk and matched by weights alone,
// their tensors are read and carried whenever they are needed. The maps are what stays in
// memory.
func (how Matching) stream(anchor *models.Model, others []*models.Model, s Settings) *stream {
	if how.Mix != 0 || how.Learner != nil || len(others) > 1 || anchor.Params != nil || others[0].Params != nil {
		return nil
	}
	if s.Weights[0] == 0 && !maps.EqualFunc(anchor.Shapes(), others[0].Shapes(), slices.Equal[[]int]) {
		return nil // what the anchor is lent for looks at the source again
	}
	form := canonical(anchor)
	return &stream{form, func(ctx context.Context, put putter) ([]NodeReport, error) {
		started := time.Now()
		if err := how.check(); err != nil {
			return nil, err
		}
		m, err := newMatcher(how, canonical(others[0]), form)
		if err != nil {
			return nil, fmt.Errorf("model 1: %w", err)
		}
		m.progress = func(round int) { s.observe("matching", "model 1", round, m.how.Rounds) }
		if err := m.matchAnchor(ctx, nil); err != nil {
			return nil, fmt.Errorf("model 1: %w", err)
		}
		moved, err := m.movedModel(ctx)
		if err != nil {
			return nil, err
		}
		mean := circuitStream{models: []*models.Model{form, moved}, settings: s, put: put,
			squares: make([]mismatched, len(form.Graph.Nodes)), parts: partsByName(form.Graph)}
		if err := mean.run(ctx); err != nil {
			return nil, err
		}
		took := time.Since(started).Seconds() / float64(len(form.Graph.Nodes))
		var nodes []NodeReport
		for _, r := range m.reportNodes(mean.squares) {
			r.Seconds = took
			nodes = append(nodes, s.kept(r))
		}
		return nodes, nil
	}}
}

// A circuitStream puts the weighted mean of matched models tensor by tensor, those that
// make one circuit together.
type circuitStream struct {
	models   []*models.Model // in one basis, the anchor first
	settings Settings
	put      putter
	squares  []mismatched // by node
	parts    map[string][]partOf
}

// run puts all tensors.
func (c *circuitStream) run(ctx context.Context) error {
	groups := circuitNames(c.models[0].Graph)
	for i, names := range groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.putGroup(names); err != nil {
			return err
		}
		c.settings.observe("averaging", names[0], i+1, len(groups))
	}
	return nil
}

// putGroup puts the means of tensors, or of the circuits that they make.
func (c *circuitStream) putGroup(names []string) error {
	own := make([]models.Params, len(c.models))
	for i, m := range c.models {
		own[i] = models.Params{}
		for _, name := range names {
			t, err := m.Tensor(name)
			if err != nil {
				return err
			}
			own[i][name] = t
		}
	}
	mean, err := average(own, c.settings.Weights)
	if err == nil {
		err = replaceCircuits(c.models[0].Graph, own, c.settings.Weights, mean)
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		for _, part := range c.parts[name] {
			p := c.models[0].Graph.Nodes[part.node].Params[part.at]
			c.squares[part.node].add(fetchPart(own[1], p).data, fetchPart(own[0], p).data)
		}
		if err := c.put(name, mean[name]); err != nil {
			return err
		}
	}
	return nil
}

// circuitNames lists the tensors of a network in groups: together those of which parts make
// a circuit, the others alone.
func circuitNames(g *graph.Graph) [][]string {
	c := circuitMean{graph: g}
	c.spaces, c.of = g.Spaces()
	group := map[string]map[string]bool{}
	for name := range partsByName(g) {
		group[name] = map[string]bool{name: true}
	}
	for k, s := range c.spaces {
		if s.Group != graph.Headwise {
			continue
		}
		joined := map[string]bool{}
		sides, _ := c.factors(k)
		for _, p := range slices.Concat(sides[0], sides[1]) {
			maps.Copy(joined, group[p.Name])
		}
		for name := range joined {
			group[name] = joined
		}
	}
	var out [][]string
	for _, name := range slices.Sorted(maps.Keys(group)) {
		if names := slices.Sorted(maps.Keys(group[name])); names[0] == name {
			out = append(out, names)
		}
	}
	return out
}
