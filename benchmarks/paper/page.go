package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/otfuse/otfuse/internal/atomicfile"
)

// A column of a table; rows that have nothing to say there say "".
type column struct {
	head string
	cell func(row) string
}

// columns lists all that tables may have.
func columns() []column {
	stage := func(get func(stages) float64) func(row) string {
		return func(x row) string {
			if x.Stages == nil {
				return ""
			}
			return fmt.Sprintf("%.2f", get(*x.Stages))
		}
	}
	return []column{
		{"model", func(x row) string { return x.Label }},
		{"updates", func(x row) string {
			if x.Finetuned == 0 {
				return ""
			}
			return fmt.Sprint(x.Finetuned)
		}},
		{"accuracy, %", func(x row) string { return spread(x.Accuracy, x.AccuracyStd, 2, 100) }},
		{"loss, nats", func(x row) string { return spread(x.Loss, x.LossStd, 3, 1) }},
		{"barrier, nats", func(x row) string { return spread(x.Barrier, x.BarrierStd, 3, 1) }},
		{"runs", func(x row) string {
			if x.Runs == 0 {
				return ""
			}
			return fmt.Sprint(x.Runs)
		}},
		{"seconds", func(x row) string {
			if x.Seconds == 0 {
				return ""
			}
			return fmt.Sprintf("%.2f", x.Seconds)
		}},
		{"calibration", stage(func(s stages) float64 { return s.Collect })},
		{"costs", stage(func(s stages) float64 { return s.Costs })},
		{"plans", stage(func(s stages) float64 { return s.Plans })},
		{"rest", stage(func(s stages) float64 { return s.Rest })},
		{"compilation", stage(func(s stages) float64 { return s.Compile })},
		{"peak MiB", func(x row) string {
			if x.Stages == nil || x.Stages.PeakMiB == nil {
				return ""
			}
			return fmt.Sprintf("%.0f", *x.Stages.PeakMiB)
		}},
	}
}

// spread formats a mean and, where there is one, its standard deviation.
func spread(mean, std *float64, digits int, scale float64) string {
	if mean == nil {
		return ""
	}
	s := fmt.Sprintf("%.*f", digits, scale**mean)
	if std != nil {
		s += fmt.Sprintf(" ± %.*f", digits, scale**std)
	}
	return s
}

// cells are the columns that have something to say, the heads first.
func (r *result) cells() [][]string {
	out := make([][]string, len(r.Rows)+1)
	for _, c := range append(columns(), r.sizeColumns()...) {
		texts := []string{c.head}
		for _, x := range r.Rows {
			texts = append(texts, c.cell(x))
		}
		if !slices.ContainsFunc(texts[1:], func(t string) bool { return t != "" }) {
			continue
		}
		for i, t := range texts {
			out[i] = append(out[i], t)
		}
	}
	return out
}

// about says what a result was made from and on.
func (r *result) about() string {
	data := r.Data
	if r.Samples > 0 {
		data += fmt.Sprintf(", %d test samples", r.Samples)
	}
	return fmt.Sprintf("%s; %s on %s, %d processors; commit %s; %.0f s", data, r.Backend,
		r.Machine.Processor, r.Machine.Processors, r.Commit, r.Seconds)
}

// print writes a result as text.
func (r *result) print(w io.Writer) error {
	fmt.Fprintf(w, "%s (%s)\n%s\n\n", r.Title, r.Name, r.about())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range r.cells() {
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// markdown writes a result as a section.
func (r *result) markdown(w io.Writer) {
	fmt.Fprintf(w, "\n## %s\n\n`%s`\n\n", r.Title, r.Command)
	for i, line := range r.cells() {
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(line)))
		}
	}
	if r.Plane != nil {
		fmt.Fprintf(w, "\n![%s](%s.png)\n", r.Title, r.Name)
	}
	fmt.Fprintf(w, "\n%s.\n", r.about())
}

// pageHead begins the page of all results.
const pageHead = `# Results

Written by benchmarks/paper from the JSON files beside this page, which hold the recipe of every row too. VF is vanilla fusion; OT-ACTS and OT-WTS are the paper's transport on activations and on weights with Sinkhorn, -EMD with exact plans. "±" is the standard deviation over runs: draws of calibration samples, or pairs of parents. Seconds are those of one run, without compilation where a column tells that apart; a barrier is the most that the loss on the line between the aligned models rises above the straight way between the losses of the parents. Transport, other than matching, changes what a model computes, so that its line does not end at a parent. A refitted model lies on no line. Where there are sizes, a cell has the time of what is compiled already and the memory at the peak beside what was held before, and exponents are fitted to all sizes. CIFAR-10 is looked for in the folder that OTFUSE_DATA names, which here held the images as JPEG of quality 75; BERTs know the encyclopedia that the program writes.
`

// publishAll writes the page of all results in a directory.
func publishAll(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	var all []*result
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r result
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, &r)
	}
	order := names(tiny())
	slices.SortStableFunc(all, func(a, b *result) int { return slices.Index(order, a.Name) - slices.Index(order, b.Name) })
	return atomicfile.WriteFile(filepath.Join(dir, "README.md"), func(w io.Writer) error {
		if _, err := io.WriteString(w, pageHead); err != nil {
			return err
		}
		for _, r := range all {
			r.markdown(w)
		}
		return nil
	})
}
