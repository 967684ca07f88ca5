package modeltest

import (
	"context"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/align"
	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/models"
)

// A Calibration collects the moments of activations in float64, from all samples at
// once. Tokens that are padding do not count.
type Calibration struct {
	Data   models.Batch
	Tokens align.Tokens // nil means all
	Narrow bool         // of nodes that are read at the selected token only, that token alone counts
}

// Collect implements the Calibration of package fuse.
func (c Calibration) Collect(_ context.Context, src, anchor *models.Model,
	want align.Request) (*align.Statistics, error) {
	src, err := src.Load()
	if err != nil {
		return nil, err
	}
	if anchor, err = anchor.Load(); err != nil {
		return nil, err
	}
	xs, ys := Forward(src, c.Data), Forward(anchor, c.Data)
	out := &align.Statistics{Magnitudes: map[int][]float64{}, Counts: map[int]float64{}}
	for _, site := range want.Sites {
		m, err := align.FromRows(c.rows(src, xs, site), c.rows(anchor, ys, site))
		if err != nil {
			return nil, err
		}
		if !want.Self {
			m.Self = nil
		}
		out.Moments = append(out.Moments, m)
	}
	for _, n := range want.Magnitudes {
		rows := c.rows(anchor, ys, []*graph.Node{n})
		units, samples := rows.Dims()
		mag := make([]float64, units)
		for i := range mag {
			for _, v := range rows.RawRowView(i) {
				mag[i] += math.Abs(v) / float64(samples)
			}
		}
		out.Magnitudes[n.ID], out.Counts[n.ID] = mag, float64(samples)
	}
	return out, nil
}

// rows returns the activations of the units of a site [units × samples].
func (c Calibration) rows(m *models.Model, values [][]*mat.Dense, site []*graph.Node) *mat.Dense {
	var all [][]float64 // by unit
	narrow := c.Narrow && !slices.ContainsFunc(site, func(n *graph.Node) bool { return !n.Narrow() })
	for _, n := range site {
		first := len(all)
		n = m.Graph.Nodes[n.ID]
		all = append(all, make([][]float64, n.Units)...)
		for k, sample := range values {
			v := sample[n.ID]
			tokens, _ := v.Dims()
			groups := c.tokens().Groups(m.Layout, tokens)
			if narrow || tokens == 1 {
				groups = [][]int{{0}}
			} else if mask := m.Graph.Mask(); mask != nil {
				attended := c.Data[mask.Name].Ints[k*tokens : (k+1)*tokens]
				for i, g := range groups {
					groups[i] = slices.DeleteFunc(g, func(t int) bool { return attended[t] == 0 })
				}
				groups = slices.DeleteFunc(groups, func(g []int) bool { return len(g) == 0 })
			}
			for _, group := range groups {
				for u := range n.Units {
					var mean float64
					for _, t := range group {
						mean += v.At(t, u) / float64(len(group))
					}
					all[first+u] = append(all[first+u], mean)
				}
			}
		}
	}
	out := mat.NewDense(len(all), len(all[0]), nil)
	for i, row := range all {
		out.SetRow(i, row)
	}
	return out
}

// tokens returns the filter of tokens.
func (c Calibration) tokens() align.Tokens {
	if c.Tokens == nil {
		return align.All{}
	}
	return c.Tokens
}
