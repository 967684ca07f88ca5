package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/internal/report"
)

// A line is a model of a strategy over runs.
type line struct {
	strategy, model string
	accuracy, loss  []float64
}

// printTable prints means and deviations over the runs that there are.
func (o options) printTable(w io.Writer) error {
	var lines []*line
	for _, s := range o.strategies() {
		of := map[string]*line{}
		for run := range o.runs {
			var r result
			err := report.ReadJSON(o.file(item{s, run}), &r)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("rounds: %w", err)
			}
			for _, row := range r.Rows {
				if of[row.Model] == nil {
					of[row.Model] = &line{strategy: s.name, model: row.Model}
					lines = append(lines, of[row.Model])
				}
				l := of[row.Model]
				l.accuracy, l.loss = append(l.accuracy, 100*row.Accuracy), append(l.loss, row.Loss)
			}
		}
	}
	if len(lines) == 0 {
		return fmt.Errorf("rounds: there are no results in %s", o.out)
	}
	return report.Tabulate(lines, []report.Column[*line]{
		{Head: "trained", Cell: func(l *line) string { return l.strategy }},
		{Head: "model", Cell: func(l *line) string { return l.model }},
		{Head: "accuracy, %", Cell: func(l *line) string { return spread(l.accuracy, 1) }},
		{Head: "loss, nats", Cell: func(l *line) string { return spread(l.loss, 3) }},
	}).Markdown(w)
}

// spread shows the mean of values and, where there are several, their deviation.
func spread(values []float64, digits int) string {
	mean, deviation := stat.MeanStdDev(values, nil)
	if len(values) == 1 {
		return fmt.Sprintf("%.*f", digits, mean)
	}
	return fmt.Sprintf("%.*f ± %.*f", digits, mean, digits, deviation)
}
