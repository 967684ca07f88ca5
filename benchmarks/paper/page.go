package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/otfuse/otfuse/internal/atomicfile"
	"github.com/otfuse/otfuse/internal/lab"
	"github.com/otfuse/otfuse/internal/report"
)

// columns lists all that tables may have.
func columns() []report.Column[row] {
	stage := func(get func(lab.Stages) float64) func(row) string {
		return func(x row) string {
			if x.Stages == nil {
				return ""
			}
			return fmt.Sprintf("%.2f", get(*x.Stages))
		}
	}
	return []report.Column[row]{
		column("model", func(x row) string { return x.Label }),
		column("updates", func(x row) string { return count(x.Finetuned) }),
		column("accuracy, %", func(x row) string { return formatSpread(x.Accuracy, x.AccuracyStd, 2, 100) }),
		column("loss, nats", func(x row) string { return formatSpread(x.Loss, x.LossStd, 3, 1) }),
		column("barrier, nats", func(x row) string { return formatSpread(x.Barrier, x.BarrierStd, 3, 1) }),
		column("runs", func(x row) string { return count(x.Runs) }),
		column("seconds", func(x row) string {
			if x.Seconds == 0 {
				return ""
			}
			return fmt.Sprintf("%.2f", x.Seconds)
		}),
		column("calibration", stage(func(s lab.Stages) float64 { return s.Collect })),
		column("costs", stage(func(s lab.Stages) float64 { return s.Costs })),
		column("plans", stage(func(s lab.Stages) float64 { return s.Plans })),
		column("rest", stage(func(s lab.Stages) float64 { return s.Rest })),
		column("compilation", stage(func(s lab.Stages) float64 { return s.Compile })),
		column("peak MiB", func(x row) string {
			if x.Stages == nil || x.Stages.PeakMiB == nil {
				return ""
			}
			return fmt.Sprintf("%.0f", *x.Stages.PeakMiB)
		}),
	}
}

// column is a column of the tables.
func column(head string, cell func(row) string) report.Column[row] {
	return report.Column[row]{Head: head, Cell: cell}
}

// count formats a number of things; none are not mentioned.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// formatSpread formats a mean and, where there is one, its standard deviation.
func formatSpread(mean, std *float64, digits int, scale float64) string {
	if mean == nil {
		return ""
	}
	s := fmt.Sprintf("%.*f", digits, scale**mean)
	if std != nil {
		s += fmt.Sprintf(" ± %.*f", digits, scale**std)
	}
	return s
}

// table is the columns that have something to say.
func (r *result) table() report.Table {
	return report.Tabulate(r.Rows, append(columns(), r.sizeColumns()...))
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
	if err := r.table().Print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// markdown writes a result as a section.
func (r *result) markdown(w io.Writer) error {
	fmt.Fprintf(w, "\n## %s\n\n`%s`\n\n", r.Title, r.Command)
	if err := r.table().Markdown(w); err != nil {
		return err
	}
	if r.Plane != nil {
		fmt.Fprintf(w, "\n![%s](%s.png)\n", r.Title, r.Name)
	}
	_, err := fmt.Fprintf(w, "\n%s.\n", r.about())
	return err
}

// pageHead begins the page of all results.
const pageHead = "# Results\n\n" +
	"Written by benchmarks/paper from the JSON files beside this page, which hold the recipe of every row too. VF " +
	"is vanilla fusion; OT-ACTS and OT-WTS are the paper's transport on activations and on weights with Sinkhorn, " +
	"-EMD with exact plans. \"±\" is the standard deviation over runs: draws of calibration samples, or pairs of " +
	"parents. Seconds are those of one run, without compilation where a column tells that apart; a barrier is the " +
	"most that the loss on the line between the aligned models rises above the straight way between the losses of " +
	"the parents. Transport, other than matching, changes what a model computes, so that its line does not end at " +
	"a parent. A refitted model lies on no line. Where there are sizes, a cell has the time of what is compiled " +
	"already and the memory at the peak beside what was held before, and exponents are fitted to all sizes. " +
	"CIFAR-10 is looked for in the folder that OTFUSE_DATA names, which here held the images as JPEG of quality " +
	"75; BERTs know the encyclopedia that the program writes.\n"

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
			if err := r.markdown(w); err != nil {
				return err
			}
		}
		return nil
	})
}
