package report

import (
	"fmt"
	"math"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/graph"
)

// nodeMeasure is what the nodes can be coloured by.
type nodeMeasure struct{ Key, Name, Low, High, Note string }

// nodeValue is a measured number and where it lies between the least and the
// most of the graph, 0 to 1.
type nodeValue struct{ Key, Text, Share string }

// nodeMeans are the means over the other models of what is reported of each
// node: cost, entropy and diagonal.
type nodeMeans struct {
	sums      map[string][3]float64
	counts    map[string]int
	costs     map[string]bool // has a cost
	low, high [3]float64
}

func newNodeMeans(nodes []fuse.NodeReport) *nodeMeans {
	m := &nodeMeans{sums: map[string][3]float64{}, counts: map[string]int{}, costs: map[string]bool{}}
	for k := range m.low {
		m.low[k], m.high[k] = math.Inf(1), math.Inf(-1)
	}
	for _, n := range nodes {
		s := m.sums[n.Name]
		for k, v := range [3]float64{n.Cost, n.Entropy, n.Diagonal} {
			s[k] += v
		}
		m.sums[n.Name] = s
		m.counts[n.Name]++
		m.costs[n.Name] = m.costs[n.Name] || n.Cost > 0 || n.Flow == graph.Solve
	}
	for name := range m.sums {
		for k := range m.low {
			if v, ok := m.mean(name, k); ok {
				m.low[k], m.high[k] = min(m.low[k], v), max(m.high[k], v)
			}
		}
	}
	return m
}

func (m *nodeMeans) mean(name string, k int) (float64, bool) {
	if m.counts[name] == 0 || k == 0 && !m.costs[name] {
		return 0, false
	}
	v := m.sums[name][k] / float64(m.counts[name])
	return v, isFinite(v)
}

func (m *nodeMeans) measures() []nodeMeasure {
	out := []nodeMeasure{
		{Key: "cost", Name: "cost", Note: "how far the units of the models are apart once aligned"},
		{Key: "entropy", Name: "entropy", Note: "how softly a unit is spread over those of the anchor, in nats"},
		{Key: "diagonal", Name: "diagonal", Note: "the share of the map that leaves units where they are"},
	}
	for k := range out {
		if m.low[k] <= m.high[k] {
			out[k].Low, out[k].High = fmt.Sprintf("%.3g", m.low[k]), fmt.Sprintf("%.3g", m.high[k])
		}
	}
	return out
}

// values returns the values of a node; none where nothing is reported of it.
func (m *nodeMeans) values(n *graph.Node) []nodeValue {
	if m.counts[n.Name] == 0 {
		return nil
	}
	out := make([]nodeValue, 3)
	for k, key := range []string{"cost", "entropy", "diagonal"} {
		out[k] = nodeValue{Key: key, Share: "0"}
		if v, ok := m.mean(n.Name, k); ok {
			out[k].Text = fmt.Sprintf("%.3g", v)
			if m.high[k] > m.low[k] {
				out[k].Share = fmt.Sprintf("%.3f", (v-m.low[k])/(m.high[k]-m.low[k]))
			}
		}
	}
	return out
}

// nodeTable is the table of all maps.
type nodeTable struct {
	Several bool // other models
	Rows    []nodeRow
}

type nodeRow struct {
	Source, Name, Flow                     string
	Cost, Entropy, Diagonal                string
	CostShare, EntropyShare, DiagonalShare string
	Seconds, Warning                       string
}

func newNodeTable(nodes []fuse.NodeReport) *nodeTable {
	if len(nodes) == 0 {
		return nil
	}
	var cost, entropy float64
	out := &nodeTable{}
	for _, n := range nodes {
		if isFinite(n.Cost) && isFinite(n.Entropy) {
			cost, entropy = max(cost, n.Cost), max(entropy, n.Entropy)
		}
		out.Several = out.Several || n.Source > 0
	}
	for _, n := range nodes {
		r := nodeRow{Source: fmt.Sprint(n.Source + 1), Name: n.Name, Flow: n.Flow.String(), Cost: fmt.Sprintf("%.4f", n.Cost),
			Entropy: fmt.Sprintf("%.3f", n.Entropy), Diagonal: fmt.Sprintf("%.3f", n.Diagonal),
			Seconds:   fmt.Sprintf("%.3f", n.Seconds),
			CostShare: percent(n.Cost, cost), EntropyShare: percent(n.Entropy, entropy), DiagonalShare: percent(n.Diagonal, 1)}
		if n.Warning != nil {
			r.Warning = fmt.Sprintf("not converged, marginals off by %.1e", n.Warning.Residual)
		}
		out.Rows = append(out.Rows, r)
	}
	return out
}
