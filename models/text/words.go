package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// words splits a text at white space and does what go-huggingface leaves undone
// of transformers' BasicTokenizer: format characters and other controls are
// dropped, separators of lines and paragraphs are white space, and a word is too
// long by its runes, not its bytes. The time of the library grows with the
// square of what it is given, so it gets one word at a time.
func (t *Tokenizer) words(s string) []string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == unicode.ReplacementChar || unicode.Is(unicode.C, r):
			return -1
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, s)
	words := strings.Fields(s)
	for i, word := range words {
		if utf8.RuneCountInString(word) > t.longest {
			words[i] = t.cut(word)
		}
	}
	return words
}

// cut replaces the runs between punctuation that are too long by [UNK].
func (t *Tokenizer) cut(word string) string {
	var out strings.Builder
	rest := word
	for rest != "" {
		n := strings.IndexFunc(rest, ends)
		if n < 0 {
			n = len(rest)
		}
		if utf8.RuneCountInString(t.pieces.Normalize(rest[:n])) > t.longest {
			out.WriteString(special[1])
		} else {
			out.WriteString(rest[:n])
		}
		_, size := utf8.DecodeRuneInString(rest[n:])
		out.WriteString(rest[n : n+size])
		rest = rest[n+size:]
	}
	return out.String()
}

// ends tells whether a word ends at r: at punctuation and at ideographs, which
// are words of their own.
func ends(r rune) bool {
	symbol := r < utf8.RuneSelf && unicode.IsSymbol(r)
	return symbol || unicode.IsPunct(r) || unicode.Is(unicode.Han, r)
}
