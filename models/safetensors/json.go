package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// jsonReader walks a JSON text token by token. Unlike [json.Unmarshal] it refuses
// duplicate keys, and it never holds more than one token.
type jsonReader struct{ *json.Decoder }

// newJSONReader checks that text is one JSON value in UTF-8. What is read from it
// afterwards can be wrong in kind, never in syntax.
func newJSONReader(text []byte) (jsonReader, error) {
	switch {
	case !utf8.Valid(text):
		return jsonReader{}, errors.New("not UTF-8")
	case !json.Valid(text):
		// Unmarshal checks the syntax first, and its error gives the position.
		return jsonReader{}, fmt.Errorf("not JSON: %w", json.Unmarshal(text, new(json.RawMessage)))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return jsonReader{d}, nil
}

// open reads the delimiter that begins an object or an array.
func (r jsonReader) open(delimiter json.Delim, kind string) error {
	token, err := r.Token()
	if err == nil && token != delimiter {
		err = fmt.Errorf("want %s, found %s", kind, quoteToken(token))
	}
	return err
}

// maxMembers is the largest number of keys of an object, and so of tensors in a file:
// each takes some hundred bytes of memory. The largest models have a hundred thousand.
const maxMembers = 1 << 17

// object calls member for every key of an object, with the reader at its value.
func (r jsonReader) object(member func(key string) error) error {
	if err := r.open('{', "an object"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r.More() {
		if len(seen) == maxMembers {
			return fmt.Errorf("more than %d keys", maxMembers)
		}
		key, err := r.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("duplicate key %.200q", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	_, err := r.Token() // the closing brace
	return err
}

// integers reads an array of non-negative integers, at most limit of them.
func (r jsonReader) integers(limit int) ([]int64, error) {
	if err := r.open('[', "an array"); err != nil {
		return nil, err
	}
	numbers := []int64{}
	for r.More() {
		if len(numbers) == limit {
			return nil, fmt.Errorf("more than %d numbers", limit)
		}
		token, err := r.Token()
		if err != nil {
			return nil, err
		}
		number, _ := token.(json.Number) // empty, and so not an integer, where the token is something else
		n, err := strconv.ParseUint(number.String(), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("want a non-negative integer below 2^63, found %s", quoteToken(token))
		}
		numbers = append(numbers, int64(n))
	}
	_, err := r.Token() // the closing bracket
	return numbers, err
}

// text reads a string.
func (r jsonReader) text() (string, error) {
	token, err := r.Token()
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("want a string, found %s", quoteToken(token))
	}
	return s, nil
}

// skipValue passes over one value of any kind.
func (r jsonReader) skipValue() error {
	for depth := 0; ; {
		token, err := r.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// quoteToken quotes a token for an error message.
func quoteToken(token json.Token) string {
	if token == nil {
		token = "null"
	}
	return fmt.Sprintf("%.40q", fmt.Sprint(token))
}
