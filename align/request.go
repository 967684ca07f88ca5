package align

import (
	"fmt"

	"github.com/otfuse/otfuse/graph"
)

// Request says what a calibration pass is to collect. Nodes are those of the
// anchor's graph; the source has the same ones under the same IDs.
type Request struct {
	Sites      [][]*graph.Node // nodes whose moments are wanted, units of one site stacked
	Magnitudes []*graph.Node   // nodes whose mean |activation| in the anchor is wanted
	Self       bool            // with Moments.Self
}

// Statistics is what a calibration pass collected. Those of two sets of samples add up
// to those of both ([Statistics.Add]), so devices and machines are merged by summation.
type Statistics struct {
	Moments    []*Moments        // one for each of Request.Sites
	Magnitudes map[int][]float64 // mean |activation| of each unit by node ID
	Counts     map[int]float64   // samples of each of Magnitudes, by node ID
}

// Add returns the statistics of the samples of a and b together, which must answer the
// same request.
func (a *Statistics) Add(b *Statistics) (*Statistics, error) {
	if len(a.Moments) != len(b.Moments) || len(a.Magnitudes) != len(b.Magnitudes) {
		return nil, fmt.Errorf("align: statistics of %d sites and %d magnitudes do not add to those of %d and %d",
			len(b.Moments), len(b.Magnitudes), len(a.Moments), len(a.Magnitudes))
	}
	out := &Statistics{Magnitudes: map[int][]float64{}, Counts: map[int]float64{}}
	for i, m := range a.Moments {
		sum, err := m.Add(b.Moments[i])
		if err != nil {
			return nil, err
		}
		out.Moments = append(out.Moments, sum)
	}
	for id, own := range a.Magnitudes {
		other := b.Magnitudes[id]
		if len(other) != len(own) {
			return nil, fmt.Errorf("align: magnitudes of %d and %d units at node %d do not add", len(own), len(other), id)
		}
		n := a.Counts[id] + b.Counts[id]
		mean := make([]float64, len(own))
		for i := range mean {
			if n > 0 {
				mean[i] = own[i]*(a.Counts[id]/n) + other[i]*(b.Counts[id]/n)
			}
		}
		out.Magnitudes[id], out.Counts[id] = mean, n
	}
	return out, nil
}
