package htmlreport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/otfuse/otfuse/internal/cli"
)

// A tile is one number to see first.
type tile struct{ Name, Value, Note, Class string }

// bars are horizontal bars over one scale, in groups.
type bars struct {
	Title, Note string
	Groups      []group
	Refs        []ref // drawn through every bar
}

type group struct {
	Title string
	Bars  []bar
}

// A bar is Width % of its track long.
type bar struct {
	Label, Value, Class string
	Width               string
}

// A ref is a line, or a band, across all tracks.
type ref struct {
	Label, Class string
	Left, Width  string
}

// A row of the table.
type row struct {
	Label, Class                     string
	Updates, Accuracy, Loss, Seconds string
	Seen                             string
	Options                          []Fact
}

// name is what a row is called.
func name(r cli.Row) string {
	if r.Label != "" {
		return r.Label
	}
	return r.Method
}

// fused reports whether a row is a model made of others by alignment.
func fused(r cli.Row) bool {
	return !slices.Contains([]string{"parent", "ensemble", "vanilla"}, r.Method)
}

// headline says in a sentence, in tiles and in bars how well the rows do.
func headline(all []cli.Row) (lead string, tiles []tile, b *bars) {
	m := Loss
	for _, r := range all {
		if Accuracy.of(r) != nil {
			m = Accuracy
		}
	}
	best := func(keep func(cli.Row) bool) *cli.Row {
		var top *cli.Row
		for i, r := range all {
			if v := m.of(r); v != nil && keep(r) && (top == nil || m.better(*v, *m.of(*top))) {
				top = &all[i]
			}
		}
		return top
	}
	add := func(title string, r *cli.Row) {
		if r != nil {
			tiles = append(tiles, tile{title, m.text(*m.of(*r)), name(*r), class(r.Method)})
		}
	}
	oneShot := best(func(r cli.Row) bool { return fused(r) && r.Finetuned == 0 })
	plain := best(func(r cli.Row) bool { return r.Method == "vanilla" && r.Finetuned == 0 })
	if plain != nil { // the first row of it is the plain mean, others are refitted
		i := slices.IndexFunc(all, func(r cli.Row) bool { return r.Method == "vanilla" && r.Finetuned == 0 && m.of(r) != nil })
		plain = &all[i]
	}
	add("best parent", best(func(r cli.Row) bool { return r.Method == "parent" && r.Finetuned == 0 }))
	add("ensemble", best(func(r cli.Row) bool { return r.Method == "ensemble" }))
	add("plain average", plain)
	add("best fusion, no training", oneShot)
	add("best fusion, finetuned", best(func(r cli.Row) bool { return fused(r) && r.Finetuned > 0 }))
	if plain != nil && oneShot != nil {
		lead = fmt.Sprintf("Averaged as they are, the parents reach %[1]s %[2]s. Aligned first, they reach %[1]s %[3]s, before any finetuning.",
			[...]string{"an accuracy of", "a loss of"}[m], m.text(*m.of(*plain)), m.text(*m.of(*oneShot)))
	}
	return lead, tiles, compare(all, m)
}

// compare draws the rows as bars, the best first, before and after finetuning,
// with the parents and their ensemble as marks; nil where nothing is measured.
func compare(all []cli.Row, m Measure) *bars {
	measured := slices.DeleteFunc(slices.Clone(all), func(r cli.Row) bool { return m.of(r) == nil })
	if len(measured) == 0 {
		return nil
	}
	sort.SliceStable(measured, func(i, j int) bool { return m.better(*m.of(measured[i]), *m.of(measured[j])) })
	top := 0.0
	for _, r := range measured {
		top = max(top, *m.of(r))
	}
	b := &bars{Title: "How well the models do", Note: "Test accuracy in %. Longer is better."}
	if m == Loss {
		b.Title, b.Note = "How well the models do", "Loss in nats. Shorter is better."
	}
	b.Refs = marks(measured, m, top)
	for _, g := range []struct {
		title string
		keep  func(cli.Row) bool
	}{
		{"as they are", func(r cli.Row) bool { return r.Finetuned == 0 }},
		{"after finetuning", func(r cli.Row) bool { return r.Finetuned > 0 }},
	} {
		out := group{Title: g.title}
		for _, r := range measured {
			if g.keep(r) {
				v := *m.of(r)
				out.Bars = append(out.Bars, bar{name(r), m.text(v), class(r.Method), percent(v, top)})
			}
		}
		if len(out.Bars) > 0 {
			b.Groups = append(b.Groups, out)
		}
	}
	return b
}

// marks are the band of the parents as they are and the line of the ensemble.
func marks(all []cli.Row, m Measure, top float64) []ref {
	lo, hi := math.Inf(1), math.Inf(-1)
	var out []ref
	for _, r := range all {
		switch v := *m.of(r); {
		case r.Method == "parent" && r.Finetuned == 0:
			lo, hi = min(lo, v), max(hi, v)
		case r.Method == "ensemble":
			out = append(out, ref{"ensemble " + m.text(v), "ensemble", percent(v, top), "0"})
		}
	}
	if lo <= hi {
		label := "parents " + m.text(lo)
		if lo < hi {
			label += " to " + m.text(hi)
		}
		out = append(out, ref{label, "parent", percent(lo, top), percent(hi-lo, top)})
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

// rows are those of the report, in its order.
func rows(all []cli.Row) []row {
	var out []row
	for _, r := range all {
		v := row{Label: name(r), Class: class(r.Method), Updates: fmt.Sprint(r.Finetuned), Accuracy: "–", Loss: "–",
			Seconds: fmt.Sprintf("%.1f", r.Seconds), Seen: r.Seen, Options: options(r.Options)}
		if a := Accuracy.of(r); a != nil {
			v.Accuracy = Accuracy.text(*a)
		}
		if l := Loss.of(r); l != nil {
			v.Loss = Loss.text(*l)
		}
		out = append(out, v)
	}
	return out
}

// options lists the keys of the options of a row as its JSON has them.
func options(o any) []Fact {
	text, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []Fact
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return out
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return out
		}
		out = append(out, Fact{fmt.Sprint(key), string(bytes.Trim(value, `"`))})
	}
	return out
}

// class is the CSS class of a method.
func class(method string) string {
	if slices.Contains([]string{"parent", "ensemble", "vanilla", "flow", "match", "learned"}, method) {
		return method
	}
	return "other"
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
