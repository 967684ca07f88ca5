package text

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a word that was added to a tokenizer, as tokenizer.json writes it.
// It is found in a text before the text is cut into words.
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only between other characters than letters
	Left       bool   `json:"lstrip"`      // takes the white space before it
	Right      bool   `json:"rstrip"`      // takes the white space behind it
	Normalized bool   `json:"normalized"`  // looked for in the normalised text
}

// addedList holds the added words that are looked for in the text as it is, and
// those that are looked for in the normalised text.
type addedList struct{ raw, normalized finder }

// maxAdded is the largest number of added words.
const maxAdded = 1 << 16

// finder finds the added words of a text. Words that begin with the same byte are
// together, the longest first.
type finder struct{ byFirst map[byte][]addedToken }

func (f finder) empty() bool { return len(f.byFirst) == 0 }

// add puts a word among those that are found.
func (f *finder) add(a addedToken) {
	if f.byFirst == nil {
		f.byFirst = map[byte][]addedToken{}
	}
	first := a.Content[0]
	f.byFirst[first] = append(f.byFirst[first], a)
	longestFirst := func(a, b addedToken) int { return cmp.Compare(len(b.Content), len(a.Content)) }
	slices.SortStableFunc(f.byFirst[first], longestFirst)
}

// split calls visit with the parts of a text in their order: what lies between
// added words with the id -1, and the ids of added words.
func (f finder) split(s string, visit func(rest string, id int32)) {
	from := 0
	for at := 0; at < len(s); {
		a, ok := f.match(s, at)
		if !ok {
			at++
			continue
		}
		before, end := s[from:at], at+len(a.Content)
		if a.Left {
			before = strings.TrimRightFunc(before, unicode.IsSpace)
		}
		if a.Right {
			end = len(s) - len(strings.TrimLeftFunc(s[end:], unicode.IsSpace))
		}
		if before != "" {
			visit(before, -1)
		}
		visit("", int32(a.ID))
		from, at = end, end
	}
	if from < len(s) {
		visit(s[from:], -1)
	}
}

// match returns the longest added word that a text has at a byte.
func (f finder) match(s string, at int) (addedToken, bool) {
	for _, a := range f.byFirst[s[at]] {
		if !strings.HasPrefix(s[at:], a.Content) {
			continue
		}
		before, _ := utf8.DecodeLastRuneInString(s[:at])
		behind, _ := utf8.DecodeRuneInString(s[at+len(a.Content):])
		if a.SingleWord && (isWordRune(before) || isWordRune(behind)) {
			continue
		}
		return a, true
	}
	return addedToken{}, false
}

// isWordRune reports whether a character belongs to a word, as the joiners of scripts
// and emoji do.
func isWordRune(r rune) bool {
	return r == '\u200c' || r == '\u200d' || unicode.In(r, unicode.L, unicode.Nd, unicode.M, unicode.Pc)
}

// specialNames holds the names of the special pieces, by the names that
// tokenizer_config.json has for them.
type specialNames struct{ Pad, UNK, CLS, SEP, Mask string }

// addTokens sets the ids of added words and of special pieces, and the number of
// ids. Of a word that is added twice the last one counts.
func (t *Tokenizer) addTokens(vocabulary map[string]int, added []addedToken, given specialNames) error {
	if len(added) > maxAdded {
		return fmt.Errorf("%w: %d added tokens, at most %d", ErrVocabulary, len(added), maxAdded)
	}
	ids := map[string]int{}
	for piece, id := range vocabulary {
		if id < 0 || id >= maxPieceID {
			return fmt.Errorf("%w: %q has id %d", ErrVocabulary, piece, id)
		}
		ids[piece] = id
		t.size = max(t.size, id+1)
	}
	last := map[string]addedToken{}
	for _, a := range added {
		if a.Content == "" || a.ID < 0 || a.ID >= maxPieceID {
			return fmt.Errorf("%w: added token %q has id %d", ErrVocabulary, a.Content, a.ID)
		}
		ids[a.Content], last[a.Content] = a.ID, a
		t.size = max(t.size, a.ID+1)
	}
	for _, piece := range t.setSpecial(ids, given) {
		if _, ok := last[piece]; !ok {
			last[piece] = addedToken{ID: ids[piece], Content: piece}
		}
	}
	t.meaning.vocabulary, t.meaning.added = vocabulary, byID(last)
	t.setWords(vocabulary)
	for _, a := range t.meaning.added {
		if !a.Normalized {
			t.added.raw.add(a)
			continue
		}
		if a.Content = t.normalize(a.Content); a.Content != "" {
			t.added.normalized.add(a)
		}
	}
	return nil
}

// setSpecial finds the special pieces under the names that are given, or else
// those that BERT, RoBERTa and GPT-2 have for them, and returns the names of those
// that are there.
func (t *Tokenizer) setSpecial(ids map[string]int, given specialNames) []string {
	var found []string
	const end = "<|endoftext|>"
	for _, s := range []struct {
		at    *int32
		names []string
	}{
		{&t.Special.Pad, []string{given.Pad, "[PAD]", "<pad>"}},
		{&t.Special.UNK, []string{given.UNK, unknownPiece, "<unk>", end}},
		{&t.Special.CLS, []string{given.CLS, "[CLS]", "<s>", end}},
		{&t.Special.SEP, []string{given.SEP, "[SEP]", "</s>", end}},
		{&t.Special.Mask, []string{given.Mask, "[MASK]", "<mask>"}},
	} {
		*s.at = -1
		for _, name := range s.names {
			if id, ok := ids[name]; ok && name != "" {
				*s.at = int32(id)
				found = append(found, name)
				break
			}
		}
	}
	return found
}
