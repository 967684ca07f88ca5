package text

import "strings"

// Decode returns the text of ids, as far as it can be told: word pieces are put
// together with a space before each word, byte pairs with the spaces that they hold.
// Ids without a word are left out. Bytes that are no UTF-8, as in a character that was
// cut, become the replacement character.
func (t *Tokenizer) Decode(ids []int32) string {
	var out strings.Builder
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.words) {
			continue
		}
		word := t.words[id]
		switch {
		case t.pairs == nil && strings.HasPrefix(word, continued):
			out.WriteString(word[len(continued):])
		case t.pairs == nil && out.Len() > 0:
			out.WriteString(" " + word)
		default:
			out.WriteString(word)
		}
	}
	return strings.ToValidUTF8(out.String(), "\ufffd")
}

// continued marks a word piece inside of a word.
const continued = "##"

// setWords notes the text of every id. Words that were added stand as they are.
func (t *Tokenizer) setWords(vocabulary map[string]int) {
	t.words = make([]string, t.size)
	var bytes map[rune]byte
	if t.pairs != nil {
		bytes = make(map[rune]byte, len(t.pairs.letters))
		for b, letter := range t.pairs.letters {
			for _, r := range letter {
				bytes[r] = byte(b)
			}
		}
	}
	for word, id := range vocabulary {
		if t.pairs == nil {
			t.words[id] = word
			continue
		}
		raw := make([]byte, 0, len(word))
		for _, letter := range word {
			if b, ok := bytes[letter]; ok {
				raw = append(raw, b)
			}
		}
		t.words[id] = string(raw)
	}
	for _, a := range t.meaning.added {
		t.words[a.ID] = a.Content
	}
}
