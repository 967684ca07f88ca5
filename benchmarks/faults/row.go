package main

import (
	"fmt"
	"io"
	"strings"
)

// verdict is what came of a try.
type verdict string

// The verdicts.
const (
	good  verdict = ""
	torn  verdict = "torn"
	lost  verdict = "lost"
	hung  verdict = "hung"
	wrong verdict = "wrong"
)

// row counts the verdicts of one kind of try.
type row struct {
	what   string
	tries  int
	count  map[verdict]int
	leaked int
	note   string // of the first fault
}

// add counts a try.
func (r *row) add(v verdict, note string) {
	r.tries++
	if v == good {
		return
	}
	if r.count == nil {
		r.count, r.note = map[verdict]int{}, string(v)+": "+note
	}
	r.count[v]++
}

// leak counts files that are left over.
func (r *row) leak(names []string) {
	r.leaked += len(names)
	if len(names) > 0 && r.note == "" {
		r.note = "leaked: " + strings.Join(names, ", ")
	}
}

// faults is the number of faults.
func (r row) faults() int {
	n := r.leaked
	for _, k := range r.count {
		n += k
	}
	return n
}

// printTable prints the rows, and the first fault of each.
func printTable(w io.Writer, rows []row) {
	fmt.Fprintf(w, "%-44s %5s %5s %5s %5s %5s %6s\n", "what", "tries", "torn", "lost", "hung", "wrong", "leaked")
	total := row{what: "in all", count: map[verdict]int{}}
	line := func(r row) {
		fmt.Fprintf(w, "%-44s %5d %5d %5d %5d %5d %6d\n", r.what, r.tries, r.count[torn], r.count[lost], r.count[hung],
			r.count[wrong], r.leaked)
	}
	for _, r := range rows {
		line(r)
		total.tries, total.leaked = total.tries+r.tries, total.leaked+r.leaked
		for v, k := range r.count {
			total.count[v] += k
		}
	}
	line(total)
	for _, r := range rows {
		if r.note != "" {
			fmt.Fprintf(w, "\n%s: %s\n", r.what, r.note)
		}
	}
}
