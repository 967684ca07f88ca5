package report

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// barChart is horizontal bars over one scale, in groups.
type barChart struct {
	Title, Note string
	Groups      []barGroup
	Refs        []reference // drawn through every bar
}

type barGroup struct {
	Title string
	Bars  []bar
}

// bar is Width % of its track long.
type bar struct {
	Label, Value, Class string
	Width               string
}

// reference is a line, or a band, across all tracks.
type reference struct {
	Label, Class string
	Left, Width  string
}

// compare draws the rows as bars, the best first, before and after finetuning,
// with the parents and their ensemble as references; nil where nothing is
// measured.
func compare(rows []Row, m Measure) *barChart {
	scored := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return m.ofRow(r) == nil })
	if len(scored) == 0 {
		return nil
	}
	sort.SliceStable(scored, func(i, j int) bool { return m.better(*m.ofRow(scored[i]), *m.ofRow(scored[j])) })
	top := 0.0
	for _, r := range scored {
		top = max(top, *m.ofRow(r))
	}
	out := &barChart{Title: "How well the models do", Note: "Test accuracy in %. Longer is better."}
	if m == Loss {
		out.Note = "Loss in nats. Shorter is better."
	}
	out.Refs = references(scored, m, top)
	before, after := barGroup{Title: "as they are"}, barGroup{Title: "after finetuning"}
	for _, r := range scored {
		group := &before
		if r.Finetuned > 0 {
			group = &after
		}
		v := *m.ofRow(r)
		group.Bars = append(group.Bars, bar{r.Name(), m.format(v), class(r.Method), percent(v, top)})
	}
	for _, g := range []barGroup{before, after} {
		if len(g.Bars) > 0 {
			out.Groups = append(out.Groups, g)
		}
	}
	return out
}

// references are the band of the parents as they are and the line of the
// ensemble.
func references(rows []Row, m Measure, top float64) []reference {
	low, high := math.Inf(1), math.Inf(-1)
	var out []reference
	for _, r := range rows {
		switch v := *m.ofRow(r); {
		case r.Method == Parent && r.Finetuned == 0:
			low, high = min(low, v), max(high, v)
		case r.Method == Ensemble:
			out = append(out, reference{"ensemble " + m.format(v), Ensemble, percent(v, top), "0"})
		}
	}
	if low <= high {
		label := "parents " + m.format(low)
		if low < high {
			label += " to " + m.format(high)
		}
		out = append(out, reference{label, Parent, percent(low, top), percent(high-low, top)})
	}
	return out
}

// percent is v in percent of top, as CSS reads it.
func percent(v, top float64) string {
	if !(top > 0) || !(v > 0) {
		return "0"
	}
	return fmt.Sprintf("%.2f", 100*v/top)
}
