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
	Method  Method       // that was used; not in JSON
}

// A NodeReport says what happened to the map at one node of one source. As JSON it is an
// object of source, name, flow, cost, entropy, diagonal, kept, seconds and converged, which
// is read back without its matrices.
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
	id       int                   // of the node, under [Transport]
	push     func() *mat.Dense     // nil for the identity, or where it was not kept
	weights  squares
}

// squares are sums of squares of the parameters of a source.
type squares struct{ own, carried float64 }

// kept is what carrying leaves of the squares; 1 where there were none.
func (s squares) kept() float64 {
	if s.own == 0 {
		return 1
	}
	return s.carried / s.own
}

// Kept returns how much of the source is left at the node once its parameters
// are carried: ‖carried‖² / ‖own‖², 1 for a node without parameters. Soft plans
// blur what they carry; permutations and orthogonal maps keep all of it.
func (r NodeReport) Kept() float64 { return r.weights.kept() }

// Kept returns the same for all parameters of each source. A mean in which less
// than a tenth of a source is left is hardly a fusion with it: compare it with
// the anchor alone, its matrices scaled by the anchor's weight.
func (r *Report) Kept() []float64 {
	var sums []squares
	for _, n := range r.Nodes {
		for n.Source >= len(sums) {
			sums = append(sums, squares{})
		}
		sums[n.Source].own += n.weights.own
		sums[n.Source].carried += n.weights.carried
	}
	out := make([]float64, len(sums))
	for i, s := range sums {
		out[i] = s.kept()
	}
	return out
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
	fmt.Fprintln(w, "source\tcost\tentropy\tdiagonal\tkept\tseconds\t  node")
	for _, n := range r.Nodes {
		if n.Flow != graph.Solve {
			continue
		}
		note := ""
		if n.Warning != nil {
			note = fmt.Sprintf(" (not converged: marginals off by %.1e)", n.Warning.Residual)
		}
		fmt.Fprintf(w, "%d\t%.4f\t%.3f\t%.3f\t%.3f\t%.3f\t  %s%s\n", n.Source+1, n.Cost, n.Entropy, n.Diagonal, n.Kept(),
			n.Seconds, n.Name,
			note)
	}
	w.Flush() // a strings.Builder takes all
	for i, kept := range r.Kept() {
		fmt.Fprintf(&b, "%.1f %% of the squares of model %d is left after it was carried", 100*kept, i+1)
		if kept < LittleKept {
			b.WriteString(": little of it is in the fused model")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%d nodes in %.3f s\n", len(r.Nodes), r.Seconds)
	return b.String()
}

// LittleKept is the share of a source, see [Report.Kept], below which the printed
// report and programs warn.
const LittleKept = 0.1

// nodeJSON is a NodeReport with the keys of report.json.
type nodeJSON struct {
	Source    int        `json:"source"`
	Name      string     `json:"name"`
	Flow      graph.Flow `json:"flow"`
	Tied      bool       `json:"tied,omitempty"`
	Cost      float64    `json:"cost"`
	Entropy   float64    `json:"entropy"`
	Diagonal  float64    `json:"diagonal"`
	Kept      float64    `json:"kept"`
	Seconds   float64    `json:"seconds"`
	Converged bool       `json:"converged"`
	Residual  *float64   `json:"residual,omitempty"` // of a plan that did not converge
}

// MarshalJSON implements json.Marshaler.
func (r NodeReport) MarshalJSON() ([]byte, error) {
	n := nodeJSON{Source: r.Source, Name: r.Name, Flow: r.Flow, Tied: r.Tied, Cost: r.Cost,
		Entropy: r.Entropy, Diagonal: r.Diagonal, Kept: r.Kept(), Seconds: r.Seconds, Converged: r.Warning == nil}
	if r.Warning != nil {
		n.Residual = &r.Warning.Residual
	}
	return json.Marshal(n)
}

// UnmarshalJSON implements json.Unmarshaler. The matrices are not in the text.
func (r *NodeReport) UnmarshalJSON(text []byte) error {
	n := nodeJSON{Kept: 1, Converged: true}
	if err := json.Unmarshal(text, &n); err != nil {
		return err
	}
	*r = NodeReport{Source: n.Source, Name: n.Name, Flow: n.Flow, Tied: n.Tied, Cost: n.Cost, Entropy: n.Entropy,
		Diagonal: n.Diagonal, Seconds: n.Seconds, weights: squares{own: 1, carried: n.Kept}}
	if !n.Converged {
		r.Warning = &ot.NotConvergedError{}
		if n.Residual != nil {
			r.Warning.Residual = *n.Residual
		}
	}
	return nil
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
