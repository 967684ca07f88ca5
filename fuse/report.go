package fuse

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/gonum/mat"

	"github.com/otfuse/otfuse/graph"
	"github.com/otfuse/otfuse/ot"
)

// A Report says what a fusion did. It prints as a table and marshals to JSON as
// {"nodes": […], "seconds": s}.
type Report struct {
	Nodes   []NodeReport // of every source in turn, nodes in order; none under [Vanilla]
	Seconds float64      // in all
}

// A NodeReport says what happened to the map at one node of one source.
type NodeReport struct {
	Source   int    // index among the other models, from 0
	Name     string // of the node
	Flow     graph.Flow
	Tied     bool                  // the node shares the map of another one
	Cost     float64               // of a solved plan, per unit of mass; under [Matching] the mismatch of weights, 0 to 1
	Entropy  float64               // of the plan, nats
	Diagonal float64               // share of the plan's mass on its diagonal, 0 to 1
	Seconds  float64               // spent on the map and on moving the parameters
	Warning  *ot.NotConvergedError // of a plan that was used as far as it got; nil where it converged
	push     func() *mat.Dense     // nil for the identity, or where it was not kept
}

// Push returns the matrix [n × m] by which the node's outputs were carried, or
// nil for the identity, and for one that was not kept: see Settings.KeepMaps.
func (r NodeReport) Push() *mat.Dense {
	if r.push == nil {
		return nil
	}
	return r.push()
}

// String returns a table of the solved maps, one node a line.
func (r *Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "source\tcost\tentropy\tdiagonal\tseconds\t  node")
	for _, n := range r.Nodes {
		if n.Flow != graph.Solve {
			continue
		}
		note := ""
		if n.Warning != nil {
			note = fmt.Sprintf(" (not converged: marginals off by %.1e)", n.Warning.Residual)
		}
		fmt.Fprintf(w, "%d\t%.4f\t%.3f\t%.3f\t%.3f\t  %s%s\n", n.Source+1, n.Cost, n.Entropy, n.Diagonal, n.Seconds, n.Name,
			note)
	}
	w.Flush() // a strings.Builder takes all
	fmt.Fprintf(&b, "%d nodes in %.3f s\n", len(r.Nodes), r.Seconds)
	return b.String()
}

// nodeJSON is a NodeReport with the keys of report.json.
type nodeJSON struct {
	Source    int      `json:"source"`
	Name      string   `json:"name"`
	Flow      string   `json:"flow"`
	Tied      bool     `json:"tied,omitempty"`
	Cost      float64  `json:"cost"`
	Entropy   float64  `json:"entropy"`
	Diagonal  float64  `json:"diagonal"`
	Seconds   float64  `json:"seconds"`
	Converged bool     `json:"converged"`
	Residual  *float64 `json:"residual,omitempty"` // of a plan that did not converge
}

// MarshalJSON implements json.Marshaler.
func (r NodeReport) MarshalJSON() ([]byte, error) {
	n := nodeJSON{Source: r.Source, Name: r.Name, Flow: r.Flow.String(), Tied: r.Tied, Cost: r.Cost,
		Entropy: r.Entropy, Diagonal: r.Diagonal, Seconds: r.Seconds, Converged: r.Warning == nil}
	if r.Warning != nil {
		n.Residual = &r.Warning.Residual
	}
	return json.Marshal(n)
}

// MarshalJSON implements json.Marshaler.
func (r Report) MarshalJSON() ([]byte, error) {
	nodes := r.Nodes
	if nodes == nil {
		nodes = []NodeReport{}
	}
	return json.Marshal(struct {
		Nodes   []NodeReport `json:"nodes"`
		Seconds float64      `json:"seconds"`
	}{nodes, r.Seconds})
}
