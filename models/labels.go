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
// [SingleLabel]. It is always [SingleLabel] where every token has logits.
func (m *Model) ProblemType() string {
	if !onePerSample(m.output()) {
		return SingleLabel
	}
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

// checkProblem reports a problem_type that transformers does not know either.
func checkProblem(c map[string]json.RawMessage) error {
	var problem string
	if err := json.Unmarshal(c["problem_type"], &problem); c["problem_type"] != nil && err != nil {
		return fmt.Errorf("%s: problem_type: %w", configName, err)
	}
	switch problem {
	case "", SingleLabel, MultiLabel, Regression:
		return nil
	}
	return fmt.Errorf("%s: problem_type is %q, want %s, %s or %s",
		configName, problem, SingleLabel, MultiLabel, Regression)
}

// Labels describes the [Labels] of the network, as [Spec.Labels] does for classes. Of a
// [Regression] they are floats, one for each output; of [MultiLabel] they are floats from
// 0 to 1, one for each class. A single output takes them without an axis of its own too.
func (m *Model) Labels() Input {
	switch m.ProblemType() {
	case Regression, MultiLabel:
		if m.Classes() == 1 {
			return Input{Name: Labels}
		}
		return Input{Name: Labels, Shape: []int{m.Classes()}}
	}
	return m.Spec.Labels()
}

// checkLabels returns labels in the shape that [Model.Labels] says, or why they are
// none. The shapes of other arrays are those of b.
func (m *Model) checkLabels(labels Array, b Batch) (Array, error) {
	if !m.Graph.HasLogits() {
		return labels, fmt.Errorf("the batch has labels, and %s puts out features, not logits", m.Arch.Class)
	}
	in := m.Labels()
	if n := len(labels.Shape); in.IsFloats() && len(in.Shape) == 0 && n == 2 && labels.Shape[1] == 1 {
		labels.Shape = labels.Shape[:1]
	}
	if err := in.check(labels, b); err != nil {
		return labels, err
	}
	for i, v := range labels.Floats {
		if m.ProblemType() == MultiLabel && (v < 0 || v > 1) {
			return labels, fmt.Errorf("label %d is %g, want 0 to 1", i, v)
		}
	}
	return labels, nil
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
