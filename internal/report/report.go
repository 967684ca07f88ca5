// Package report holds what a program found, as rows, curves and nodes, and
// shows it: as a table, as JSON, as Markdown and as an HTML page with plots.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/otfuse/otfuse/fuse"
	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/models"
	"github.com/otfuse/otfuse/models/gomlx"
)

// Report is what a program found.
type Report struct {
	Data    string            `json:"data"`
	Backend string            `json:"backend"`
	Rows    []Row             `json:"rows"`
	Nodes   []fuse.NodeReport `json:"nodes"`
	Curves  []Curve           `json:"curves,omitempty"`
	Maps    []Map             `json:"-"` // some of the maps between units, to be shown
}

// Row is one model: how it was made and how well it does.
type Row struct {
	Method    string   `json:"method"` // of package recipe, or one of the methods of this package
	Label     string   `json:"label,omitempty"`
	Options   any      `json:"options"`
	Finetuned int      `json:"finetuned_steps"`
	Accuracy  *float64 `json:"accuracy,omitempty"` // 0 to 1
	Loss      *float64 `json:"loss,omitempty"`     // nats, or what Problem says
	Problem   string   `json:"problem_type,omitempty"`
	Pseudo    *float64 `json:"pseudo_perplexity,omitempty"`
	// Perplexity is exp of the loss, of causal language models.
	Perplexity *float64 `json:"perplexity,omitempty"`
	Seconds    float64  `json:"seconds"`        // to make it
	Seen       string   `json:"seen,omitempty"` // samples, labels and updates that it took beside the parents
}

// Score fills in how well the model of a row does. A model that answers in numbers has no
// accuracy.
func (r *Row) Score(s gomlx.Score) {
	r.Accuracy, r.Loss = &s.Accuracy, &s.Loss
	if s.Problem != models.SingleLabel {
		r.Problem = s.Problem
	}
	if s.Problem == models.Regression {
		r.Accuracy = nil
	}
}

// metrics returns what accuracy and loss of the rows are called.
func (r *Report) metrics() (accuracy, loss string) {
	for _, row := range r.Rows {
		switch row.Problem {
		case models.Regression:
			return "accuracy", "mean squared error"
		case models.MultiLabel:
			return "accuracy per class", "binary cross entropy"
		}
	}
	return "accuracy", "loss"
}

// Name is what a row is called.
func (r Row) Name() string {
	if r.Label != "" {
		return r.Label
	}
	return r.Method
}

// Add appends a row; one without options gets empty ones.
func (r *Report) Add(row Row) {
	if row.Options == nil {
		row.Options = struct{}{}
	}
	r.Rows = append(r.Rows, row)
}

// AddNodes adds the maps of a fusion.
func (r *Report) AddNodes(f *fuse.Report) { r.Nodes = append(r.Nodes, f.Nodes...) }

// Write writes the report as JSON, whole or not at all.
func (r *Report) Write(path string) error {
	if r.Nodes == nil {
		r.Nodes = []fuse.NodeReport{}
	}
	return WriteJSON(path, r)
}

// WriteJSON writes a value as indented JSON, whole or not at all.
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

// ReadJSON reads a value that WriteJSON wrote.
func ReadJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Print writes the rows as a table.
func (r *Report) Print(w io.Writer) error {
	accuracy, loss := r.metrics()
	columns := []Column[Row]{
		{"model", Row.Name},
		{"finetuned", func(r Row) string { return fmt.Sprint(r.Finetuned) }},
		{accuracy, func(r Row) string { return number(r.Accuracy, "%.2f %%", 100) }},
		{loss, func(r Row) string { return number(r.Loss, "%.3f", 1) }},
		{"pseudo-perplexity", func(r Row) string { return number(r.Pseudo, "%.2f", 1) }},
		{"perplexity", func(r Row) string { return number(r.Perplexity, "%.2f", 1) }},
		{"seconds", func(r Row) string { return fmt.Sprintf("%.1f", r.Seconds) }},
		{"seen", func(r Row) string { return r.Seen }},
	}
	without := func(name string, value func(Row) *float64) {
		if !slices.ContainsFunc(r.Rows, func(r Row) bool { return value(r) != nil }) {
			columns = slices.DeleteFunc(columns, func(c Column[Row]) bool { return c.Head == name })
		}
	}
	without("pseudo-perplexity", func(r Row) *float64 { return r.Pseudo })
	without("perplexity", func(r Row) *float64 { return r.Perplexity })
	return Tabulate(r.Rows, columns).Print(w)
}

// number formats a value, or a dash where there is none.
func number(v *float64, format string, scale float64) string {
	if v == nil || math.IsNaN(*v) {
		return "-"
	}
	return fmt.Sprintf(format, *v*scale)
}
