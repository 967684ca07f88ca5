package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models/gomlx"
)

// A Report is what a program found, as it is printed and written as JSON.
type Report struct {
	Data    string  `json:"data"`
	Backend string  `json:"backend"`
	Rows    []Row   `json:"rows"`
	Nodes   []Node  `json:"nodes"`
	Curves  []Curve `json:"curves,omitempty"`
}

// A Curve is how good models are along the line between two, or along a
// training.
type Curve struct {
	Method string  `json:"method"`
	Label  string  `json:"label"`
	Along  string  `json:"along"` // what x is
	Points []Point `json:"points"`

	Barrier *Barrier `json:"barrier,omitempty"` // of a line between models
}

// A Barrier is how much worse the models of a curve are, at the worst of its
// points, than straight interpolation between its ends would have them; 0 where
// none is.
type Barrier struct {
	Accuracy float64 `json:"accuracy"` // 0 to 1
	Loss     float64 `json:"loss"`     // nats
}

// Rise returns the barrier of a curve whose x goes from 0 to 1 between models
// that score as the given ends.
func (c Curve) Rise(from, to Point) *Barrier {
	var b Barrier
	for _, p := range c.Points {
		b.Accuracy = max(b.Accuracy, (1-p.X)*from.Accuracy+p.X*to.Accuracy-p.Accuracy)
		b.Loss = max(b.Loss, p.Loss-(1-p.X)*from.Loss-p.X*to.Loss)
	}
	return &b
}

// A Point of a curve.
type Point struct {
	X        float64 `json:"x"`
	Accuracy float64 `json:"accuracy"` // 0 to 1
	Loss     float64 `json:"loss"`     // nats
}

// A Row is one model: how it was made and how well it does.
type Row struct {
	Method    string   `json:"method"` // parent | ensemble | vanilla | flow | match
	Label     string   `json:"label,omitempty"`
	Options   any      `json:"options"`
	Finetuned int      `json:"finetuned_steps"`
	Accuracy  *float64 `json:"accuracy,omitempty"` // 0 to 1
	Loss      *float64 `json:"loss,omitempty"`     // nats
	Pseudo    *float64 `json:"pseudo_perplexity,omitempty"`
	Seconds   float64  `json:"seconds"`        // to make it
	Seen      string   `json:"seen,omitempty"` // samples, labels and updates that it took beside the parents
}

// A Node is the map at one node of the flow graph.
type Node struct {
	Source    int      `json:"source"`
	Name      string   `json:"name"`
	Flow      string   `json:"flow"`
	Cost      float64  `json:"cost"`
	Entropy   float64  `json:"entropy"`
	Diagonal  float64  `json:"diagonal"`
	Seconds   float64  `json:"seconds"`
	Converged bool     `json:"converged"`
	Residual  *float64 `json:"residual,omitempty"` // marginal error of a plan that did not converge
}

// Score fills in how well the model of a row does.
func (r *Row) Score(s gomlx.Score) { r.Accuracy, r.Loss = &s.Accuracy, &s.Loss }

// AddNodes adds the maps of a fusion.
func (r *Report) AddNodes(f *fuse.Report) {
	for _, n := range f.Nodes {
		node := Node{Source: n.Source, Name: n.Name, Flow: n.Flow.String(), Cost: n.Cost, Entropy: n.Entropy,
			Diagonal: n.Diagonal, Seconds: n.Duration.Seconds(), Converged: n.Warning == nil}
		if n.Warning != nil {
			node.Residual = &n.Warning.Residual
		}
		r.Nodes = append(r.Nodes, node)
	}
}

// Write writes the report as JSON, whole or not at all.
func (r *Report) Write(path string) error {
	if r.Nodes == nil {
		r.Nodes = []Node{}
	}
	return WriteJSON(path, r)
}

// WriteJSON writes v as indented JSON, whole or not at all.
func WriteJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// Print writes the rows as a table.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	pseudo := slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Pseudo != nil })
	seen := slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Seen != "" })
	fmt.Fprintf(t, "model\tfinetuned\taccuracy\tloss%s\tseconds%s\n", column(pseudo, "pseudo-perplexity"), column(seen, "seen"))
	for _, row := range r.Rows {
		name := row.Method
		if row.Label != "" {
			name = row.Label
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s%s\t%.1f%s\n", name, row.Finetuned, number(row.Accuracy, 100, "%.2f %%"), number(row.Loss, 1, "%.3f"),
			column(pseudo, number(row.Pseudo, 1, "%.2f")), row.Seconds, column(seen, row.Seen))
	}
	return t.Flush()
}

// column is a cell of a column that not every table has.
func column(there bool, text string) string {
	if there {
		return "\t" + text
	}
	return ""
}

func number(v *float64, scale float64, format string) string {
	if v == nil || math.IsNaN(*v) {
		return "-"
	}
	return fmt.Sprintf(format, *v*scale)
}
