package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// tile is one number to see first.
type tile struct{ Name, Value, Note, Class string }

// tableRow is a row of the table of all models.
type tableRow struct {
	Label, Class                     string
	Updates, Accuracy, Loss, Seconds string
	Seen                             string
	Options                          []Fact
}

// summarise says in a sentence, in tiles and in bars how well the rows do.
func summarise(rows []Row) (lead string, tiles []tile, bars *barChart) {
	m := Loss
	for _, r := range rows {
		if Accuracy.ofRow(r) != nil {
			m = Accuracy
		}
	}
	add := func(title string, r *Row) {
		if r != nil {
			tiles = append(tiles, tile{title, m.format(*m.ofRow(*r)), r.Name(), class(r.Method)})
		}
	}
	untrained := func(r Row) bool { return r.Finetuned == 0 }
	fused := best(rows, m, func(r Row) bool { return isFusion(r) && untrained(r) })
	mean := plainMean(rows, m)
	add("best parent", best(rows, m, func(r Row) bool { return r.Method == Parent && untrained(r) }))
	add("ensemble", best(rows, m, func(r Row) bool { return r.Method == Ensemble }))
	add("plain average", mean)
	add("best fusion, no training", fused)
	add("best fusion, finetuned", best(rows, m, func(r Row) bool { return isFusion(r) && !untrained(r) }))
	if mean != nil && fused != nil {
		const text = "Averaged as they are, the parents reach %[1]s %[2]s. Aligned first, they reach %[1]s %[3]s, before " +
			"any finetuning."
		lead = fmt.Sprintf(text, [...]string{"an accuracy of", "a loss of"}[m], m.format(*m.ofRow(*mean)),
			m.format(*m.ofRow(*fused)))
	}
	return lead, tiles, compare(rows, m)
}

// best returns the best of the rows that keep accepts; nil where there is none.
func best(rows []Row, m Measure, keep func(Row) bool) *Row {
	var top *Row
	for i, r := range rows {
		if v := m.ofRow(r); v != nil && keep(r) && (top == nil || m.better(*v, *m.ofRow(*top))) {
			top = &rows[i]
		}
	}
	return top
}

// plainMean returns the row of the mean of the parents as they are: the first of
// its method, as later ones are refitted.
func plainMean(rows []Row, m Measure) *Row {
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Method == plain && r.Finetuned == 0 && m.ofRow(r) != nil })
	if i < 0 {
		return nil
	}
	return &rows[i]
}

// tableRows are those of the report, in its order.
func tableRows(rows []Row) []tableRow {
	var out []tableRow
	for _, r := range rows {
		v := tableRow{Label: r.Name(), Class: class(r.Method), Updates: fmt.Sprint(r.Finetuned), Accuracy: "–", Loss: "–",
			Seconds: fmt.Sprintf("%.1f", r.Seconds), Seen: r.Seen, Options: optionFacts(r.Options)}
		if a := Accuracy.ofRow(r); a != nil {
			v.Accuracy = Accuracy.format(*a)
		}
		if l := Loss.ofRow(r); l != nil {
			v.Loss = Loss.format(*l)
		}
		out = append(out, v)
	}
	return out
}

// optionFacts lists the keys of the options of a row in the order of its JSON.
func optionFacts(options any) []Fact {
	text, err := json.Marshal(options)
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
