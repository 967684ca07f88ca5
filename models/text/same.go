package text

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// meaning is what decides on the ids of a text. Two files may write the same
// meaning in different ways.
type meaning struct {
	vocabulary map[string]int
	merges     []pair
	added      []addedToken // in the order of their ids
	rules      any          // how a text becomes words, as decoded JSON
}

// SameTokenizer compares the tokenizers of two checkpoints, given their files, by
// what they make of a text: truncation, padding, indentation, the ends of lines and
// the kind of file do not matter. It returns nil where they give the same ids, and
// where one of the two brings no tokenizer. The error has [ErrDifferent] in its
// chain and says what differs first.
func SameTokenizer(a, b map[string][]byte) error {
	names := []string{tokenizerFile, pairFile, lineFile}
	brings := func(files map[string][]byte) bool {
		return slices.ContainsFunc(names, func(name string) bool { return files[name] != nil })
	}
	if !brings(a) || !brings(b) {
		return nil
	}
	first, errA := ReadTokenizer(a)
	second, errB := ReadTokenizer(b)
	if err := errors.Join(errA, errB); err != nil {
		// A tokenizer of another kind is the same where its files are.
		for _, name := range slices.Concat(names, []string{mergeFile, settingsFile}) {
			if !bytes.Equal(a[name], b[name]) {
				return fmt.Errorf("%w: the contents of %s, which cannot be compared otherwise: %w", ErrDifferent, name, err)
			}
		}
		return nil
	}
	return first.compare(second)
}

// compare says how two tokenizers differ.
func (t *Tokenizer) compare(u *Tokenizer) error {
	x, y := t.meaning, u.meaning
	if !maps.Equal(x.vocabulary, y.vocabulary) {
		return fmt.Errorf("%w: %s", ErrDifferent, firstWord(x.vocabulary, y.vocabulary))
	}
	for i := range max(len(x.added), len(y.added)) {
		if i == len(x.added) || i == len(y.added) || x.added[i] != y.added[i] {
			extra := slices.Concat(x.added[min(i, len(x.added)):], y.added[min(i, len(y.added)):])[0]
			return fmt.Errorf("%w: the added token %q", ErrDifferent, extra.Content)
		}
	}
	switch {
	case !slices.Equal(x.merges, y.merges):
		return fmt.Errorf("%w: the merges of byte pairs", ErrDifferent)
	case !reflect.DeepEqual(x.rules, y.rules):
		return fmt.Errorf("%w: how they make words of a text, %v and %v", ErrDifferent, x.rules, y.rules)
	case t.Special != u.Special:
		return fmt.Errorf("%w: the special tokens, %+v and %+v", ErrDifferent, t.Special, u.Special)
	}
	return nil
}

// firstWord names the first id under which two vocabularies differ.
func firstWord(x, y map[string]int) string {
	lowest, word := maxPieceID, ""
	for _, maps := range [][2]map[string]int{{x, y}, {y, x}} {
		for piece, id := range maps[0] {
			if other, ok := maps[1][piece]; (!ok || other != id) && (id < lowest || id == lowest && piece < word) {
				lowest, word = id, piece
			}
		}
	}
	return fmt.Sprintf("id %d, which is %q in one of them only", lowest, word)
}

// wordRules returns how a tokenizer.json makes words of a text for word pieces.
func (t *Tokenizer) wordRules(file map[string]json.RawMessage) (any, error) {
	rules := map[string]any{"longest": t.longest}
	for _, name := range []string{"normalizer", "pre_tokenizer"} {
		raw, ok := file[name]
		if !ok {
			continue
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrVocabulary, name, err)
		}
		if n, ok := value.(map[string]any); ok && n["type"] == "BertNormalizer" && n["strip_accents"] == nil {
			n["strip_accents"] = n["lowercase"] // what is not said follows the case
		}
		rules[name] = value
	}
	return rules, nil
}

// byID puts added tokens in the order of their ids.
func byID(added map[string]addedToken) []addedToken {
	return slices.SortedFunc(maps.Values(added), func(a, b addedToken) int { return cmp.Compare(a.ID, b.ID) })
}
