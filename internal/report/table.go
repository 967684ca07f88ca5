package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Column is one column of a table over rows of some type. Rows that have
// nothing to say in it give "".
type Column[R any] struct {
	Head string
	Cell func(R) string
}

// Table is a table as text: lines of cells, the heads first.
type Table [][]string

// Tabulate makes a table of rows. A column in which no row has anything to say
// is left out.
func Tabulate[R any](rows []R, columns []Column[R]) Table {
	t := make(Table, len(rows)+1)
	for _, c := range columns {
		cells := []string{c.Head}
		for _, r := range rows {
			cells = append(cells, c.Cell(r))
		}
		if !slices.ContainsFunc(cells[1:], func(s string) bool { return s != "" }) {
			continue
		}
		for i, cell := range cells {
			t[i] = append(t[i], cell)
		}
	}
	return t
}

// Print writes the table with its columns aligned.
func (t Table) Print(w io.Writer) error {
	aligned := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range t {
		fmt.Fprintln(aligned, strings.Join(line, "\t"))
	}
	return aligned.Flush()
}

// Markdown writes the table in Markdown.
func (t Table) Markdown(w io.Writer) error {
	for i, line := range t {
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | ")); err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(line))); err != nil {
			return err
		}
	}
	return nil
}
