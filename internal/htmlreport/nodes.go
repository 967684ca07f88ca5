package htmlreport

import (
	"fmt"
	"math"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/internal/cli"
)

// A measure is what the nodes can be coloured by.
type measure struct{ Key, Name, Low, High, Note string }

// A value is a measured number and where it lies between the least and the
// most of the graph, 0 to 1.
type value struct{ Key, Text, Share string }

// means are the means over the other models of what is reported of each node.
type means struct {
	sums   map[string][3]float64
	counts map[string]int
	costly map[string]bool // has a cost
	lo, hi [3]float64
}

func newMeans(nodes []cli.Node) *means {
	m := &means{sums: map[string][3]float64{}, counts: map[string]int{}, costly: map[string]bool{}}
	for k := range m.lo {
		m.lo[k], m.hi[k] = math.Inf(1), math.Inf(-1)
	}
	for _, n := range nodes {
		s := m.sums[n.Name]
		for k, v := range [3]float64{n.Cost, n.Entropy, n.Diagonal} {
			s[k] += v
		}
		m.sums[n.Name] = s
		m.counts[n.Name]++
		m.costly[n.Name] = m.costly[n.Name] || n.Cost > 0 || n.Flow == "solve"
	}
	for name := range m.sums {
		for k := range m.lo {
			if v, ok := m.mean(name, k); ok {
				m.lo[k], m.hi[k] = min(m.lo[k], v), max(m.hi[k], v)
			}
		}
	}
	return m
}

func (m *means) mean(name string, k int) (float64, bool) {
	if m.counts[name] == 0 || k == 0 && !m.costly[name] {
		return 0, false
	}
	v := m.sums[name][k] / float64(m.counts[name])
	return v, finite(v)
}

func (m *means) measures() []measure {
	out := []measure{
		{Key: "cost", Name: "cost", Note: "how far the units of the models are apart once aligned"},
		{Key: "entropy", Name: "entropy", Note: "how softly a unit is spread over those of the anchor, in nats"},
		{Key: "diagonal", Name: "diagonal", Note: "the share of the map that leaves units where they are"},
	}
	for k := range out {
		if m.lo[k] <= m.hi[k] {
			out[k].Low, out[k].High = fmt.Sprintf("%.3g", m.lo[k]), fmt.Sprintf("%.3g", m.hi[k])
		}
	}
	return out
}

// of returns the values of a node; none where nothing is reported of it.
func (m *means) of(n *graph.Node) []value {
	if m.counts[n.Name] == 0 {
		return nil
	}
	out := make([]value, 3)
	for k, key := range []string{"cost", "entropy", "diagonal"} {
		out[k] = value{Key: key, Share: "0"}
		if v, ok := m.mean(n.Name, k); ok {
			out[k].Text = fmt.Sprintf("%.3g", v)
			if m.hi[k] > m.lo[k] {
				out[k].Share = fmt.Sprintf("%.3f", (v-m.lo[k])/(m.hi[k]-m.lo[k]))
			}
		}
	}
	return out
}

// nodes is the table of all maps.
type nodes struct {
	Several bool // other models
	Rows    []nodeRow
}

type nodeRow struct {
	Source, Name, Flow                     string
	Cost, Entropy, Diagonal                string
	CostShare, EntropyShare, DiagonalShare string
	Seconds, Warning                       string
}

func tabulate(all []cli.Node) *nodes {
	if len(all) == 0 {
		return nil
	}
	var cost, entropy float64
	out := &nodes{}
	for _, n := range all {
		if finite(n.Cost) && finite(n.Entropy) {
			cost, entropy = max(cost, n.Cost), max(entropy, n.Entropy)
		}
		out.Several = out.Several || n.Source > 0
	}
	for _, n := range all {
		r := nodeRow{Source: fmt.Sprint(n.Source + 1), Name: n.Name, Flow: n.Flow, Cost: fmt.Sprintf("%.4f", n.Cost),
			Entropy: fmt.Sprintf("%.3f", n.Entropy), Diagonal: fmt.Sprintf("%.3f", n.Diagonal), Seconds: fmt.Sprintf("%.3f", n.Seconds),
			CostShare: percent(n.Cost, cost), EntropyShare: percent(n.Entropy, entropy), DiagonalShare: percent(n.Diagonal, 1)}
		if !n.Converged {
			r.Warning = "not converged"
			if n.Residual != nil {
				r.Warning += fmt.Sprintf(", marginals off by %.1e", *n.Residual)
			}
		}
		out.Rows = append(out.Rows, r)
	}
	return out
}
