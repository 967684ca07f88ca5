package models

import (
	"encoding/json"
	"maps"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzPatched: whatever object is changed, the result is an object with the
// change and with all else as it was.
func FuzzPatched(f *testing.F) {
	for _, text := range []string{"{}", "{\n}\n", `{"a":1}`, `{"a" : 1 , "b":[{"a":","}]}`,
		` { "b":"}",` + "\n" + `"a":null,"a":2 }`,
		`{"":0,"\u0061":1}`, `[]`, `{`, `{"a":1}}`, `{"a":1,}`} {
		f.Add(text, "a", `{"x":[1,2]}`)
		f.Add(text, "a", "")
		f.Add(text, "c", "true")
	}
	f.Fuzz(func(t *testing.T, text, key, value string) {
		if !utf8.ValidString(key) {
			return // no field of a struct is called so
		}
		change := member{key: key}
		if value != "" {
			if !json.Valid([]byte(value)) {
				return
			}
			change.value = json.RawMessage(value)
		}
		var before map[string]any
		valid := json.Unmarshal([]byte(text), &before) == nil && before != nil
		got, err := patched([]byte(text), []member{change})
		if !valid {
			return // what is no object was refused when it was read
		}
		require.NoError(t, err)
		var after map[string]any
		require.NoError(t, json.Unmarshal(got, &after), "%s", got)
		want := maps.Clone(before)
		if value == "" {
			delete(want, key)
		} else {
			var v any
			require.NoError(t, json.Unmarshal([]byte(value), &v))
			want[key] = v
		}
		require.Equal(t, want, after, "%s", got)
	})
}
