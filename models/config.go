package models

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
)

// configText returns the text of m's config.json: as it was read where the
// configuration says the same, with the keys that changed put in where it does
// not, and afresh for a model that was not read. All other keys are kept. What
// is written must read back as the same configuration, else there is an error.
func (m *Model) configText() ([]byte, error) {
	now, err := configMembers(m.Config)
	if err != nil {
		return nil, err
	}
	if m.text == nil {
		text, err := m.freshText(now)
		if err != nil {
			return nil, err
		}
		return text, m.readsBack(text, now)
	}
	changes, err := m.changes(now)
	if err != nil || len(changes) == 0 {
		return m.text, err
	}
	text, err := patched(m.text, changes)
	if err != nil {
		return nil, err
	}
	return text, m.readsBack(text, now)
}

// configMembers returns what a configuration writes, but for what the
// architecture writes itself.
func configMembers(c Config) ([]member, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", configName, err)
	}
	all, err := membersOf(text)
	return slices.DeleteFunc(all, func(m member) bool { return m.key == "architectures" || m.key == "model_type" }), err
}

// freshText is a config.json of the class and the configuration alone.
func (m *Model) freshText(now []member) ([]byte, error) {
	class, err := json.Marshal([]string{m.Arch.Class})
	if err != nil {
		return nil, err
	}
	all := []member{{key: "architectures", value: class}}
	if m.Arch.Type != "" {
		kind, err := json.Marshal(m.Arch.Type)
		if err != nil {
			return nil, err
		}
		all = append(all, member{key: "model_type", value: kind})
	}
	return patched([]byte("{\n}\n"), append(all, now...))
}

// changes lists the members in which the configuration is not what config.json
// says; one without a value is to be left out.
func (m *Model) changes(now []member) ([]member, error) {
	if m.Arch.Parse == nil {
		return nil, nil // it was never read as a configuration
	}
	read, err := m.Arch.Parse(m.text)
	if err != nil {
		return nil, err
	}
	then, err := configMembers(read)
	if err != nil {
		return nil, err
	}
	var out []member
	for _, x := range now {
		if i := slices.IndexFunc(then, func(y member) bool { return y.key == x.key }); i < 0 || !bytes.Equal(then[i].value, x.value) {
			out = append(out, x)
		}
	}
	for _, y := range then {
		if !slices.ContainsFunc(now, func(x member) bool { return x.key == y.key }) {
			out = append(out, member{key: y.key})
		}
	}
	var said struct {
		Classes []string `json:"architectures"`
	}
	if err := json.Unmarshal(m.text, &said); err != nil {
		return nil, fmt.Errorf("%s: %w", configName, err)
	}
	if !slices.Contains(said.Classes, m.Arch.Class) {
		class, err := json.Marshal([]string{m.Arch.Class})
		return append(out, member{key: "architectures", value: class}), err
	}
	return out, nil
}

// readsBack reports a text that does not parse as the configuration that it was
// written for.
func (m *Model) readsBack(text []byte, now []member) error {
	if m.Arch.Parse == nil {
		return nil
	}
	read, err := m.Arch.Parse(text)
	if err != nil {
		return err
	}
	then, err := configMembers(read)
	if err != nil {
		return err
	}
	if want, got := reflect.TypeOf(m.Config), reflect.TypeOf(read); want != got {
		return fmt.Errorf("%s of a %s is read as %v, the model has %v", configName, m.Arch.Class, got, want)
	}
	for _, x := range now {
		i := slices.IndexFunc(then, func(y member) bool { return y.key == x.key })
		if i < 0 || !bytes.Equal(then[i].value, x.value) {
			return fmt.Errorf("%s: %q is written as %s and reads back as something else: the fields of %T need JSON tags that Parse understands",
				configName, x.key, x.value, m.Config)
		}
	}
	return nil
}
