package fuse

import (
	"fmt"
	"math"
	"slices"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
)

// collect gathers the statistics that the aligner and the policy need.
func (t *transport) collect() error {
	needs := t.Aligner.Needs()
	_, weighs := t.Residual.(graph.Weigher)
	t.stats, t.magnitudes = map[int]siteStats{}, map[int][]float64{}
	if !needs.Moments && !weighs {
		return nil
	}
	if t.settings.Calibration == nil {
		return fmt.Errorf("%T with %T: %w", t.Aligner, t.Residual, ErrNoCalibration)
	}
	want := align.Want{Self: needs.Self}
	if needs.Moments {
		want.Sites = t.wanted()
	}
	var err error
	if weighs {
		if want.Magnitudes, err = t.branches(); err != nil {
			return err
		}
	}
	stats, err := t.settings.Calibration.Collect(t.ctx, t.source, t.anchor, want)
	if err != nil {
		return err
	}
	if len(stats.Moments) != len(want.Sites) {
		return fmt.Errorf("the calibration returned %d moments for %d sites", len(stats.Moments), len(want.Sites))
	}
	for i, s := range want.Sites {
		t.stats[s[0].ID] = siteStats{stats.Moments[i]}
	}
	for id, m := range stats.Magnitudes {
		t.magnitudes[id] = m
	}
	return nil
}

// wanted lists the sites whose moments come from activations.
func (t *transport) wanted() [][]*graph.Node {
	var out [][]*graph.Node
	for _, n := range t.anchor.Graph.Nodes {
		site := t.sites[n.ID]
		if site == nil || n.Op == graph.Table {
			continue
		}
		if t.QK != Joint || len(site) == 1 {
			out = append(out, []*graph.Node{n})
			continue
		}
		group := t.group(t.source.Graph.Nodes[n.ID])
		if group[0].ID == n.ID {
			out = append(out, []*graph.Node{n, t.anchor.Graph.Nodes[group[1].ID]})
		}
	}
	return out
}

// branches lists the nodes whose magnitudes weigh branches; those of tables
// and constants are taken from their rows at once.
func (t *transport) branches() ([]*graph.Node, error) {
	var out []*graph.Node
	seen := map[int]bool{}
	for _, n := range t.anchor.Graph.Nodes {
		if n.Op != graph.Add {
			continue
		}
		for _, a := range n.Args {
			a = t.measured(a)
			if seen[a.ID] {
				continue
			}
			seen[a.ID] = true
			switch a.Op {
			case graph.Table:
				p, _ := a.Param(graph.RoleRows)
				rows, err := read(t.anchor, p)
				if err != nil {
					return nil, err
				}
				t.magnitudes[a.ID] = magnitudes(a.Units, rows.data)
			case graph.Const:
				t.magnitudes[a.ID] = magnitudes(a.Units, slices.Concat(a.Rows...))
			default:
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// magnitudes returns the mean |row| of a table [.., units].
func magnitudes[T float32 | float64](units int, table []T) []float64 {
	out := make([]float64, units)
	for i, v := range table {
		out[i%units] += math.Abs(float64(v)) * float64(units) / float64(len(table))
	}
	return out
}
