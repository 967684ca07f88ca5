package models

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// configText returns the text of config.json to be saved with m. A text that was
// read is returned as it was read, byte for byte, or with the changes that were
// made to the configuration since; every other key is kept. A model made in Go gets
// a new text. A new or changed text is parsed again, because a configuration whose
// JSON tags do not match its Parse would silently come back as another one.
func (m *Model) configText() ([]byte, error) {
	current, err := configMembers(m.Config)
	if err != nil {
		return nil, err
	}
	before, changes := []byte("{\n}\n"), m.newMembers(current)
	if m.text != nil {
		before = m.text
		if changes, err = m.changes(current); err != nil || len(changes) == 0 {
			return before, err
		}
	}
	text, err := patched(before, changes)
	if err != nil {
		return nil, err
	}
	return text, m.checkReadsBack(text, current)
}

// configMembers returns the members that a configuration writes, except for those
// that come from the architecture.
func configMembers(c Config) ([]member, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", configName, err)
	}
	all, err := membersOf(text)
	return slices.DeleteFunc(all, func(m member) bool { return m.key == "architectures" || m.key == "model_type" }), err
}

// newMembers returns the members of a new config.json.
func (m *Model) newMembers(current []member) []member {
	all := []member{m.classMember()}
	if m.Arch.Type != "" {
		all = append(all, member{key: "model_type", value: quoted(m.Arch.Type)})
	}
	return append(all, current...)
}

// classMember returns the member that names the architecture.
func (m *Model) classMember() member {
	return member{key: "architectures", value: slices.Concat([]byte("["), quoted(m.Arch.Class), []byte("]"))}
}

// quoted returns a string as JSON. Strings always marshal.
func quoted(s string) json.RawMessage {
	text, _ := json.Marshal(s)
	return text
}

// changes returns the members in which the configuration departs from the text
// that was read. A member without a value is to be removed.
func (m *Model) changes(current []member) ([]member, error) {
	if m.Arch.Parse == nil {
		return nil, nil // the text was never read as a configuration
	}
	parsed, err := m.parsedMembers(m.text)
	if err != nil {
		return nil, err
	}
	var out []member
	for _, x := range current {
		if !slices.ContainsFunc(parsed, x.equal) {
			out = append(out, x)
		}
	}
	for _, x := range parsed {
		if !slices.ContainsFunc(current, func(y member) bool { return x.key == y.key }) {
			out = append(out, member{key: x.key})
		}
	}
	named, err := classesIn(m.text)
	if err == nil && !slices.Contains(named, m.Arch.Class) {
		out = append(out, m.classMember())
	}
	if kind, _ := typeIn(m.text); kind == "" && len(named) == 0 && m.Arch.Type != "" {
		out = append(out, member{key: "model_type", value: quoted(m.Arch.Type)})
	}
	return out, err
}

// classesIn returns the classes that the text of a config.json names: a list, or one
// by itself.
func classesIn(text []byte) ([]string, error) {
	var c struct {
		Classes json.RawMessage `json:"architectures"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", configName, err)
	}
	var one string
	if json.Unmarshal(c.Classes, &one) == nil && one != "" {
		return []string{one}, nil
	}
	var all []string
	if err := json.Unmarshal(c.Classes, &all); err != nil && c.Classes != nil {
		return nil, fmt.Errorf("%s: architectures: %w", configName, err)
	}
	return all, nil
}

// typeIn returns the model_type of the text of a config.json, if it has one.
func typeIn(text []byte) (string, error) {
	var c struct {
		Type string `json:"model_type"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return "", fmt.Errorf("%s: %w", configName, err)
	}
	return c.Type, nil
}

// parsedMembers returns what the configuration in a text writes.
func (m *Model) parsedMembers(text []byte) ([]member, error) {
	c, err := m.Arch.Parse(text)
	if err != nil {
		return nil, err
	}
	if want, got := reflect.TypeOf(m.Config), reflect.TypeOf(c); want != got {
		return nil, fmt.Errorf("%s of a %s is read as %v, the model has %v", configName, m.Arch.Class, got, want)
	}
	return configMembers(c)
}

// checkReadsBack reports a text that does not parse as the configuration that it
// was written for.
func (m *Model) checkReadsBack(text []byte, current []member) error {
	if m.Arch.Parse == nil {
		return nil
	}
	parsed, err := m.parsedMembers(text)
	if err != nil {
		return err
	}
	for _, x := range current {
		if !slices.ContainsFunc(parsed, x.equal) {
			return fmt.Errorf("%s: %q is written as %s and reads back as something else: see the JSON tags of %T",
				configName, x.key, x.value, m.Config)
		}
	}
	return nil
}
