package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitWords splits a text at white space. It does the part of transformers'
// BasicTokenizer that go-huggingface lacks: it drops format and other control
// characters, treats separators of lines and paragraphs as white space, and
// measures the length of words in runes, not bytes. The running time of
// go-huggingface grows with the square of its input, so it is given one word at
// a time.
func (t *Tokenizer) splitWords(s string) []string {
	words := strings.Fields(t.clean(s))
	for i, word := range words {
		if utf8.RuneCountInString(word) > t.longest {
			words[i] = t.withoutLongRuns(word)
		}
	}
	return words
}

// clean drops control characters and makes all white space alike. The capital I
// with a dot is written small as Unicode does, as two characters: Go makes a plain
// i of it.
func (t *Tokenizer) clean(s string) string {
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
	if t.lower {
		s = strings.ReplaceAll(s, "\u0130", "i\u0307")
	}
	return s
}

// Words returns the words of a text as the tokenizer sees them before it cuts
// them into word pieces: normalised, with every punctuation mark and every
// ideograph a word of its own, and without [UNK]. Vocabularies are learned from
// them.
func (t *Tokenizer) Words(s string) []string {
	var out []string
	if t.pairs != nil {
		return t.pairs.split(t.pairs.form(s))
	}
	unknown := strings.ToLower(unknownPiece)
	for _, word := range t.splitWords(s) {
		word = t.pieces.Normalize(word)
		for field := range strings.FieldsSeq(strings.NewReplacer(unknownPiece, " ", unknown, " ").Replace(word)) {
			for field != "" {
				n := strings.IndexFunc(field, endsWord)
				if n == 0 {
					_, n = utf8.DecodeRuneInString(field)
				} else if n < 0 {
					n = len(field)
				}
				out = append(out, field[:n])
				field = field[n:]
			}
		}
	}
	return out
}

// withoutLongRuns replaces the runs between punctuation that are too long for a
// word by [UNK].
func (t *Tokenizer) withoutLongRuns(word string) string {
	var out strings.Builder
	rest := word
	for rest != "" {
		n := strings.IndexFunc(rest, endsWord)
		if n < 0 {
			n = len(rest)
		}
		if utf8.RuneCountInString(t.pieces.Normalize(rest[:n])) > t.longest {
			out.WriteString(unknownPiece)
		} else {
			out.WriteString(rest[:n])
		}
		_, size := utf8.DecodeRuneInString(rest[n:])
		out.WriteString(rest[n : n+size])
		rest = rest[n+size:]
	}
	return out.String()
}

// endsWord reports whether a word ends before r: punctuation marks and
// ideographs are words of their own.
func endsWord(r rune) bool {
	symbol := r < utf8.RuneSelf && unicode.IsSymbol(r)
	return symbol || unicode.IsPunct(r) || unicode.Is(unicode.Han, r)
}
