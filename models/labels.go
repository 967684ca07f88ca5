package models

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
)

// What the logits of a classifier mean, as problem_type of config.json says.
const (
	SingleLabel = "single_label_classification" // softmax, one class
	MultiLabel  = "multi_label_classification"  // sigmoid, any number of classes
	Regression  = "regression"                  // numbers
)

// ProblemType returns what the logits mean: the problem_type of config.json or, where
// it has none, what transformers assumes: [Regression] for a single label, else
// [SingleLabel].
func (m *Model) ProblemType() string {
	var c struct {
		Problem string `json:"problem_type"`
	}
	if m.text != nil {
		_ = json.Unmarshal(m.text, &c) // the text has been read before
	}
	switch {
	case c.Problem != "":
		return c.Problem
	case len(m.labels()) == 1 && m.Classes() == 1:
		return Regression
	}
	return SingleLabel
}

// ClassNames returns the names of the classes in the order of the logits, as id2label
// of config.json has them. It returns nil where they have none, or only those that
// transformers makes up: LABEL_0, LABEL_1 and so on.
func (m *Model) ClassNames() []string {
	labels := m.labels()
	if len(labels) != m.Classes() {
		return nil
	}
	names, named := make([]string, len(labels)), false
	for i := range names {
		name, ok := labels[strconv.Itoa(i)]
		if !ok {
			return nil
		}
		names[i], named = name, named || name != fmt.Sprint("LABEL_", i)
	}
	if !named {
		return nil
	}
	return names
}

// labels returns the id2label of the configuration.
func (m *Model) labels() map[string]string {
	var c struct {
		Labels map[string]string `json:"id2label"`
	}
	if text, err := json.Marshal(m.Config); err == nil {
		_ = json.Unmarshal(text, &c) // another type is that of an architecture of its own
	}
	return c.Labels
}

// WithClassNames returns a copy of m whose configuration names the classes so. Its
// parameters stay as they are.
func (m *Model) WithClassNames(names []string) (*Model, error) {
	labels, ids := map[string]string{}, map[string]int{}
	for i, name := range names {
		labels[strconv.Itoa(i)], ids[name] = name, i
	}
	var values [2]json.RawMessage
	for i, x := range []any{labels, ids} {
		var err error
		if values[i], err = json.Marshal(x); err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
	}
	c, err := m.configWith(member{key: "id2label", value: values[0]}, member{key: "label2id", value: values[1]})
	if err != nil {
		return nil, fmt.Errorf("models: %s: %w", m.Arch.Class, err)
	}
	out := *m
	out.Config = c
	return &out, nil
}

// Replace returns a copy of m with some of its parameters replaced by those of p. The
// others stay where they are, be it on disk.
func (m *Model) Replace(p Params) *Model {
	out := *m
	if m.Params == nil && m.link != nil {
		l := *m.link
		l.replaced = maps.Clone(l.replaced)
		if l.replaced == nil {
			l.replaced = Params{}
		}
		maps.Copy(l.replaced, p)
		out.link = &l
		return &out
	}
	out.Params = maps.Clone(m.Params)
	maps.Copy(out.Params, p)
	return &out
}
