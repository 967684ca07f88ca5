package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/otfuse/otfuse/internal/report"
)

// A region is a point of the map over all its pairs and draws.
type region struct {
	arch     string
	width    int
	likeness string
	samples  int
	budget   int
}

// A choice is a way, of the cell that it was tried in, over pairs and draws.
type choice struct {
	way
	budget int
	scores map[string]float64 // accuracy by pair and draw
}

// mean is the mean accuracy.
func (c *choice) mean() float64 {
	return stat.Mean(slices.Sorted(maps.Values(c.scores)), nil) // in an order of their own, as that of a map changes
}

// above reports whether a way is better than another one, or as good and cheaper.
func (c *choice) above(other *choice) bool {
	if a, b := c.mean(), other.mean(); a != b {
		return a > b
	}
	return cmp.Or(cmp.Compare(c.budget, other.budget), cmp.Compare(c.Name, other.Name)) < 0
}

// printTable prints what is best at every point that there are results of, a table for each
// data set.
func (o options) printTable(w io.Writer) error {
	results, err := o.results()
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	for len(results) > 0 {
		first := results[0]
		var alike, others []result
		for _, r := range results {
			if r.Data == first.Data && r.Tests == first.Tests {
				alike = append(alike, r)
			} else {
				others = append(others, r)
			}
		}
		results = others
		regions, found := gathered(alike)
		var lines []line
		for _, r := range regions {
			lines = append(lines, found.of(r).line(r, first.Tests))
		}
		_, err = fmt.Fprintf(w, "%s, %d test samples. Accuracies in %%, ± one standard deviation over pairs and draws.\n\n",
			first.Data, first.Tests)
		if err == nil {
			err = report.Tabulate(lines, columns()).Markdown(w)
		}
		if err == nil {
			_, err = fmt.Fprintln(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// results reads the results that there are of the cells of the axes.
func (o options) results() ([]result, error) {
	var out []result
	for _, c := range o.axes.cells() {
		there, err := exists(o.file(c))
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		var r result
		if err := report.ReadJSON(o.file(c), &r); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, errors.New("there are no results in " + filepath.Join(o.out, "items"))
	}
	return out, nil
}

// choices are the ways of each region that were tried there.
type choices map[region][]*choice

// gathered puts together what was found in pairs and draws.
func gathered(results []result) ([]region, choices) {
	var order []region
	out := choices{}
	for _, res := range results {
		r := region{res.Arch, res.Width, res.Likeness, res.Samples, res.Budget}
		if _, ok := out[r]; !ok {
			order = append(order, r)
		}
		for _, row := range withBetterParent(res.Rows) {
			at := slices.IndexFunc(out[r], func(c *choice) bool { return c.Name == row.Name })
			if at < 0 {
				at = len(out[r])
				out[r] = append(out[r], &choice{row.way, res.Budget, map[string]float64{}})
			}
			out[r][at].scores[fmt.Sprint(res.Pair, "-", res.Draw)] = row.Accuracy
		}
	}
	slices.SortStableFunc(order, func(a, b region) int {
		return cmp.Or(cmp.Compare(a.arch, b.arch), cmp.Compare(a.width, b.width), cmp.Compare(a.likeness, b.likeness),
			cmp.Compare(uint(a.samples), uint(b.samples)), cmp.Compare(a.budget, b.budget))
	})
	slices.SortStableFunc(order, func(a, b region) int { // most alike first
		return cmp.Or(cmp.Compare(a.arch, b.arch), cmp.Compare(a.width, b.width),
			cmp.Compare(skews()[a.likeness], skews()[b.likeness]))
	})
	return order, out
}

// withBetterParent puts the better of the parents of a pair among the controls, in place
// of each of them.
func withBetterParent(rows []row) []row {
	var out []row
	better := row{way: way{Name: "better parent", Kind: control}}
	for _, r := range rows {
		if r.Name == "parent 0" || r.Name == "parent 1" {
			better.Accuracy = max(better.Accuracy, r.Accuracy)
			r.Kind = reference
		}
		out = append(out, r)
	}
	if len(out) > 0 && out[0].Kind == reference {
		out = append(out, better)
	}
	return out
}

// of leaves the pairs and draws that were tried in a region, so that a line is about the
// same ones.
func (all choices) of(r region) choices {
	out := choices{}
	for other, ways := range all {
		for _, c := range ways {
			scores := map[string]float64{}
			for key, score := range c.scores {
				if _, ok := all[r][0].scores[key]; ok {
					scores[key] = score
				}
			}
			if len(scores) > 0 {
				out[other] = append(out[other], &choice{c.way, c.budget, scores})
			}
		}
	}
	return out
}

// A group is what ways are compared in.
type group struct {
	kind   kind
	labels bool
}

// best is the way of a group that has the highest mean among
// those that a region can afford: on its samples or on none, and in its budget or less.
// What was tried more often, in cells that cost as much, counts as often.
func (all choices) best(r region, g group) *choice {
	tried := map[string]*choice{}
	for other, ways := range all {
		if other.arch != r.arch || other.width != r.width || other.likeness != r.likeness ||
			other.budget > r.budget || other.samples != r.samples && other.samples != 0 {
			continue
		}
		for _, c := range ways {
			if g != (group{c.Kind, c.Labels}) {
				continue
			}
			if last := tried[c.Name]; last == nil || len(c.scores) > len(last.scores) ||
				len(c.scores) == len(last.scores) && c.above(last) {
				tried[c.Name] = c
			}
		}
	}
	var out *choice
	for _, c := range tried {
		if out == nil || c.above(out) {
			out = c
		}
	}
	return out
}

// A line is a region on the page.
type line struct {
	region
	parents, ensemble  string
	control, fused     string
	gain               string
	finetuned, withOwn string // with labels: the parent, the fused model
	labelledGain       string
}

func (all choices) line(r region, tests int) line {
	l := line{region: r}
	for _, c := range all[region{r.arch, r.width, r.likeness, r.samples, 0}] {
		switch c.Name {
		case "ensemble":
			l.ensemble = percent(c)
		case "parent 0":
			l.parents = percent(c)
		case "parent 1":
			l.parents += ", " + percent(c)
		}
	}
	l.control, l.fused, l.gain = all.compared(r, group{kind: control}, group{kind: fused}, tests)
	if r.budget > 0 {
		l.finetuned, l.withOwn, l.labelledGain = all.compared(r, group{control, true}, group{fused, true}, tests)
	}
	return l
}

// compared returns the best of two groups and how much the second is above, in bold where
// that is more than twice its standard error.
func (all choices) compared(r region, first, second group, tests int) (without, with, gain string) {
	a, b := all.best(r, first), all.best(r, second)
	if a == nil || b == nil {
		return "", "", ""
	}
	var differences []float64
	for key, score := range b.scores {
		if other, ok := a.scores[key]; ok {
			differences = append(differences, score-other)
		}
	}
	if len(differences) == 0 {
		return named(a, r), named(b, r), ""
	}
	mean, deviation := stat.MeanStdDev(differences, nil)
	gain = fmt.Sprintf("%+.1f", 100*mean)
	if len(differences) > 1 {
		gain += fmt.Sprintf(" ± %.1f", 100*deviation)
	} else {
		deviation = 0
	}
	if mean > 2*standardError(deviation, len(differences), tests) {
		gain = "**" + gain + "**"
	}
	return named(a, r), named(b, r), gain
}

// standardError is that of the mean of n differences, each of which is at least as
// uncertain as one of two models on so many test samples.
func standardError(deviation float64, n, tests int) float64 {
	least := math.Sqrt(2 * 0.25 / float64(tests))
	return max(deviation, least) / math.Sqrt(float64(n))
}

// named shows a way and its accuracy, and its budget where it costs less than there is.
func named(c *choice, r region) string {
	text := c.Name
	if c.budget > 0 && c.budget < r.budget {
		text += fmt.Sprintf(" (%d s)", c.budget)
	}
	return text + " " + percent(c)
}

// percent shows the mean of the accuracies and their deviation.
func percent(c *choice) string {
	var all []float64
	for _, a := range c.scores {
		all = append(all, 100*a)
	}
	slices.Sort(all) // as in mean
	mean, deviation := stat.MeanStdDev(all, nil)
	if len(all) == 1 {
		return fmt.Sprintf("%.1f", mean)
	}
	return fmt.Sprintf("%.1f ± %.1f", mean, deviation)
}

// columns are those of the page.
func columns() []report.Column[line] {
	return []report.Column[line]{
		{Head: "network", Cell: func(l line) string { return fmt.Sprintf("%s, %d", l.arch, l.width) }},
		{Head: "data of the parents", Cell: func(l line) string { return l.likeness }},
		{Head: "samples", Cell: func(l line) string {
			if l.samples == all {
				return "all"
			}
			return fmt.Sprint(l.samples)
		}},
		{Head: "seconds", Cell: func(l line) string { return fmt.Sprint(l.budget) }},
		{Head: "parents", Cell: func(l line) string { return l.parents }},
		{Head: "ensemble", Cell: func(l line) string { return l.ensemble }},
		{Head: "best without fusing", Cell: func(l line) string { return l.control }},
		{Head: "best fused", Cell: func(l line) string { return l.fused }},
		{Head: "gain", Cell: func(l line) string { return l.gain }},
		{Head: "with labels: parent", Cell: func(l line) string { return l.finetuned }},
		{Head: "fused", Cell: func(l line) string { return l.withOwn }},
		{Head: "gain with labels", Cell: func(l line) string { return l.labelledGain }},
	}
}
