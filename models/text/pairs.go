package text

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// bytePairs cuts text into the byte pairs of GPT-2 and RoBERTa (Sennrich et al.,
// "Neural machine translation of rare words with subword units", 2016; Radford et
// al., "Language models are unsupervised multitask learners", 2019): each byte of a
// word is written as a letter, and neighbours are joined in the order in which the
// pairs were learned.
type bytePairs struct {
	ids     map[string]int
	ranks   map[[2]string]int // of pairs: lower ones are joined first
	letters [256]string       // of bytes
	unknown int               // -1 where letters without an id are dropped
	whole   bool              // a word that is in the vocabulary is not cut
	space   bool              // a text begins with a space
	rules   bool              // words are told apart as GPT-2 does
	form    func(string) string
}

// ByteLetters returns the letters that GPT-2 writes bytes as in a vocabulary: visible
// Latin-1 characters stand for themselves, the others are numbered from U+0100.
func ByteLetters() [256]string {
	var letters [256]string
	next := rune(256)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			letters[b] = string(b)
			continue
		}
		letters[b] = string(next)
		next++
	}
	return letters
}

// pair is a pair of neighbours that are joined. It is written "a b" or ["a", "b"].
type pair [2]string

// UnmarshalJSON reads either form.
func (p *pair) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '[' {
		return json.Unmarshal(raw, (*[2]string)(p))
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	first, second, ok := strings.Cut(s, " ")
	if !ok {
		return fmt.Errorf("merge %q has no space", s)
	}
	*p = pair{first, second}
	return nil
}

// pairModel holds the fields of a model of type BPE that are read.
type pairModel struct {
	Vocab   map[string]int `json:"vocab"`
	Merges  []pair         `json:"merges"`
	Unknown string         `json:"unk_token"`
	Prefix  string         `json:"continuing_subword_prefix"`
	Suffix  string         `json:"end_of_word_suffix"`
	Whole   bool           `json:"ignore_merges"`
}

// readBytePairs reads a model of byte pairs, and returns its vocabulary.
func (t *Tokenizer) readBytePairs(file map[string]json.RawMessage) (map[string]int, error) {
	var model pairModel
	before := struct {
		Type  string `json:"type"`
		Space bool   `json:"add_prefix_space"`
		Rules *bool  `json:"use_regex"`
	}{}
	var normalizer struct {
		Type string `json:"type"`
	}
	for name, into := range map[string]any{"model": &model, "pre_tokenizer": &before, "normalizer": &normalizer} {
		if raw, ok := file[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrVocabulary, name, err)
			}
		}
	}
	forms := map[string]func(string) string{"": func(s string) string { return s },
		"NFC": norm.NFC.String, "NFD": norm.NFD.String, "NFKC": norm.NFKC.String, "NFKD": norm.NFKD.String}
	form, known := forms[normalizer.Type]
	switch {
	case before.Type != "ByteLevel":
		return nil, fmt.Errorf("%w: a pre_tokenizer of type %q, want ByteLevel", ErrVocabulary, before.Type)
	case !known:
		return nil, fmt.Errorf("%w: a normalizer of type %q", ErrVocabulary, normalizer.Type)
	case model.Prefix != "" || model.Suffix != "":
		return nil, fmt.Errorf("%w: byte pairs with continuing_subword_prefix or end_of_word_suffix", ErrVocabulary)
	case len(model.Vocab) == 0:
		return nil, fmt.Errorf("%w: the vocabulary is empty", ErrVocabulary)
	}
	p := &bytePairs{ids: model.Vocab, ranks: make(map[[2]string]int, len(model.Merges)), letters: ByteLetters(),
		unknown: -1, whole: model.Whole, space: before.Space, rules: before.Rules == nil || *before.Rules, form: form}
	for rank, m := range model.Merges {
		if _, ok := model.Vocab[m[0]+m[1]]; !ok {
			return nil, fmt.Errorf("%w: merge %d makes %q, which the vocabulary lacks", ErrVocabulary, rank, m[0]+m[1])
		}
		p.ranks[m] = rank
	}
	if id, ok := model.Vocab[model.Unknown]; ok && model.Unknown != "" {
		p.unknown = id
	}
	t.pairs, t.meaning.merges = p, model.Merges
	t.meaning.rules = []any{p.space, p.rules, p.whole, p.unknown, normalizer.Type}
	return model.Vocab, nil
}

// fromPairs reads a vocab.json and a merges.txt.
func fromPairs(vocabulary, merges []byte, c settings) (*Tokenizer, error) {
	if merges == nil {
		return nil, fmt.Errorf("%w: %s without %s", ErrVocabulary, pairFile, mergeFile)
	}
	pairs := []string{}
	for line := range strings.Lines(string(merges)) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && !strings.HasPrefix(line, "#version") {
			pairs = append(pairs, line)
		}
	}
	raw, err := json.Marshal(map[string]any{
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": c.space},
		"model":         map[string]any{"type": "BPE", "vocab": json.RawMessage(vocabulary), "merges": pairs},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, err)
	}
	return fromJSON(raw, c)
}

// encode appends the ids of a text.
func (p *bytePairs) encode(ids []int32, s string) []int32 {
	s = p.form(s)
	if p.space && s != "" && s[0] != ' ' {
		s = " " + s
	}
	for _, word := range p.split(s) {
		ids = p.encodeWord(ids, word)
	}
	return ids
}

// split tells the words of a text apart, each with the space before it.
func (p *bytePairs) split(s string) []string {
	if !p.rules {
		return []string{s}
	}
	var words []string
	for s != "" {
		n := wordLength(s)
		words = append(words, s[:n])
		s = s[n:]
	}
	return words
}

// wordLength returns the length of the word at the start of a text, by the rules of
// GPT-2:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func wordLength(s string) int {
	for _, ending := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(s, ending) {
			return len(ending)
		}
	}
	start := 0
	if s[0] == ' ' {
		start = 1
	}
	if first, _ := utf8.DecodeRuneInString(s[start:]); start < len(s) && !unicode.IsSpace(first) {
		kind := kindOf(first)
		n := strings.IndexFunc(s[start:], func(r rune) bool { return kindOf(r) != kind })
		if n < 0 {
			return len(s)
		}
		return start + n
	}
	n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsSpace(r) })
	if n < 0 {
		return len(s)
	}
	// The last white space belongs to the next word, where there are several.
	if _, last := utf8.DecodeLastRuneInString(s[:n]); n > last {
		return n - last
	}
	return n
}

// kindOf tells white space, letters, numbers and all other characters apart.
func kindOf(r rune) int {
	switch {
	case unicode.IsSpace(r):
		return 0
	case unicode.IsLetter(r):
		return 1
	case unicode.IsNumber(r):
		return 2
	}
	return 3
}

// symbol is a part of a word, in a list with its neighbours; -1 is none.
type symbol struct {
	text           string
	previous, next int
}

// candidate is a pair of neighbours that can be joined.
type candidate struct {
	rank, at int
	text     [2]string // the pair is gone where its symbols have changed
}

// candidates is a heap: the lowest rank is first, and of these the leftmost.
type candidates []candidate

func (c candidates) Len() int { return len(c) }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].at < c[j].at
}
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }

// Push and Pop are those of [heap.Interface].
func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) } //nolint:forcetypeassert // the heap's own

func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// encodeWord appends the ids of a word. The time is n·log n for n bytes.
func (p *bytePairs) encodeWord(ids []int32, word string) []int32 {
	var letters strings.Builder
	symbols := make([]symbol, len(word))
	for i := range len(word) {
		letter := p.letters[word[i]]
		letters.WriteString(letter)
		symbols[i] = symbol{letter, i - 1, i + 1}
	}
	symbols[len(word)-1].next = -1
	if id, ok := p.ids[letters.String()]; ok && p.whole {
		return append(ids, int32(id))
	}
	var queue candidates
	offer := func(at int) {
		if at < 0 || symbols[at].next < 0 {
			return
		}
		both := [2]string{symbols[at].text, symbols[symbols[at].next].text}
		if rank, ok := p.ranks[both]; ok {
			heap.Push(&queue, candidate{rank, at, both})
		}
	}
	for i := range symbols {
		offer(i)
	}
	for len(queue) > 0 {
		c, _ := heap.Pop(&queue).(candidate)
		left := &symbols[c.at]
		if left.text != c.text[0] || left.next < 0 || symbols[left.next].text != c.text[1] {
			continue
		}
		gone := &symbols[left.next]
		left.text, left.next = left.text+gone.text, gone.next
		gone.text = ""
		if left.next >= 0 {
			symbols[left.next].previous = c.at
		}
		offer(left.previous)
		offer(c.at)
	}
	for at := 0; at >= 0; at = symbols[at].next {
		if id, ok := p.ids[symbols[at].text]; ok {
			ids = append(ids, int32(id))
		} else if p.unknown >= 0 {
			ids = append(ids, int32(p.unknown))
		}
	}
	return ids
}
