package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// cursor walks a JSON text that is known to be valid. Unlike a decoder it
// refuses duplicate keys, and it never holds more than one token of its own.
type cursor struct {
	text []byte
	pos  int
}

// newCursor checks that text is one JSON value in UTF-8.
func newCursor(text []byte) (*cursor, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(text) {
		// The error knows the position; Unmarshal fails before it decodes.
		return nil, fmt.Errorf("not JSON: %w", json.Unmarshal(text, new(json.RawMessage)))
	}
	return &cursor{text: text}, nil
}

// next returns the first byte of the next token.
func (c *cursor) next() byte {
	for c.pos < len(c.text) {
		switch c.text[c.pos] {
		case ' ', '\t', '\r', '\n':
			c.pos++
		default:
			return c.text[c.pos]
		}
	}
	return 0
}

func (c *cursor) accept(b byte) bool {
	if c.next() != b {
		return false
	}
	c.pos++
	return true
}

// object calls member for every key of an object, with the cursor at the value.
func (c *cursor) object(member func(key string) error) error {
	if !c.accept('{') {
		return fmt.Errorf("want an object, found %s", c.peek())
	}
	seen := map[string]struct{}{}
	for !c.accept('}') {
		key, err := c.str()
		if err != nil {
			return err
		}
		if _, ok := seen[key]; ok {
			return fmt.Errorf("duplicate key %.200q", key)
		}
		seen[key] = struct{}{}
		c.accept(':')
		if err := member(key); err != nil {
			return err
		}
		c.accept(',')
	}
	return nil
}

// ints returns an array of non-negative integers, at most limit of them.
func (c *cursor) ints(limit int) ([]int64, error) {
	if !c.accept('[') {
		return nil, fmt.Errorf("want an array, found %s", c.peek())
	}
	numbers := []int64{}
	for !c.accept(']') {
		if len(numbers) == limit {
			return nil, fmt.Errorf("more than %d numbers", limit)
		}
		n, err := c.integer()
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
		c.accept(',')
	}
	return numbers, nil
}

func (c *cursor) integer() (int64, error) {
	c.next()
	raw := c.token()
	n, err := strconv.ParseUint(string(raw[:min(len(raw), 32)]), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("want a non-negative integer below 2^63, found %s", c.peek())
	}
	c.pos += len(raw)
	return int64(n), nil
}

func (c *cursor) str() (string, error) {
	if c.next() != '"' {
		return "", fmt.Errorf("want a string, found %s", c.peek())
	}
	raw := c.token()
	c.pos += len(raw)
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// skip passes over one value of any kind.
func (c *cursor) skip() {
	for depth := 0; ; {
		switch c.next() {
		case '{', '[':
			depth++
			c.pos++
		case '}', ']':
			depth--
			c.pos++
		case ',', ':':
			c.pos++
		case 0:
			return
		default:
			c.pos += len(c.token())
		}
		if depth == 0 {
			return
		}
	}
}

// token returns the string, number or word that starts at the cursor, or the
// one byte of any other token.
func (c *cursor) token() []byte {
	rest := c.text[c.pos:]
	if len(rest) == 0 {
		return rest
	}
	if rest[0] == '"' {
		for i := 1; i < len(rest); i++ {
			switch rest[i] {
			case '\\':
				i++
			case '"':
				return rest[:i+1]
			}
		}
		return rest
	}
	if i := bytes.IndexAny(rest, " \t\r\n,:[]{}"); i > 0 {
		return rest[:i]
	}
	return rest[:1]
}

// peek quotes the next token for an error message.
func (c *cursor) peek() string {
	c.next()
	return fmt.Sprintf("%.40q", c.token())
}
