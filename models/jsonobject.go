package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A member is a key of a JSON object with its value. In the text of the object the
// key begins at start and the value ends before end.
type member struct {
	key        string
	value      json.RawMessage
	start, end int
}

// equal reports whether two members have the same key and value.
func (m member) equal(other member) bool {
	return m.key == other.key && bytes.Equal(m.value, other.value)
}

// membersOf returns the members of a JSON object in order.
func membersOf(text []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.Join(err, fmt.Errorf("%s: want an object", configName))
	}
	var out []member
	for d.More() {
		after := int(d.InputOffset())
		key, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", configName, err)
		}
		x := member{key: key.(string), start: after + bytes.IndexByte(text[after:], '"')}
		if err := d.Decode(&x.value); err != nil {
			return nil, fmt.Errorf("%s: %w", configName, err)
		}
		x.end = int(d.InputOffset())
		out = append(out, x)
	}
	return out, nil
}

// patched returns the text of a JSON object with changes. A member that the object
// has is replaced, or removed where the change has no value; any other is added at
// the end. The rest of the text, white space included, stays as it is.
func patched(text []byte, changes []member) ([]byte, error) {
	have, err := membersOf(text)
	if err != nil {
		return nil, err
	}
	open := bytes.IndexByte(text, '{') + 1
	separator := []byte(",\n  ")
	if len(have) > 1 {
		separator = text[have[0].end:have[1].start]
	}
	out, last, written := slices.Clone(text[:open]), open, 0
	write := func(before, body []byte) {
		if comma := bytes.IndexByte(before, ','); written == 0 && comma >= 0 {
			before = before[comma+1:]
		}
		out = append(append(out, before...), body...)
		written++
	}
	for _, x := range have {
		before, body := text[last:x.start], text[x.start:x.end]
		last = x.end
		if i := slices.IndexFunc(changes, func(c member) bool { return c.key == x.key }); i >= 0 {
			if changes[i].value == nil {
				continue
			}
			if body, err = changes[i].text(); err != nil {
				return nil, err
			}
		}
		write(before, body)
	}
	for _, c := range changes {
		if c.value == nil || slices.ContainsFunc(have, func(x member) bool { return x.key == c.key }) {
			continue
		}
		body, err := c.text()
		if err != nil {
			return nil, err
		}
		write(separator, body)
	}
	return append(out, text[last:]...), nil
}

// text returns the text of a member, indented for an object at the top level.
func (m member) text() ([]byte, error) {
	key, err := json.Marshal(m.key)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Write(key)
	out.WriteString(": ")
	err = json.Indent(&out, m.value, "  ", "  ")
	return out.Bytes(), err
}
