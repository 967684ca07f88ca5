package text

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/go-huggingface/tokenizers/api"
	"github.com/gomlx/go-huggingface/tokenizers/hftokenizer"
)

// unknownPiece stands for a word that the vocabulary cannot spell.
const unknownPiece = "[UNK]"

// SpecialPieces lists the word pieces that every vocabulary must hold and that
// stand for no text, in the order of the fields of [Special].
func SpecialPieces() []string { return []string{"[PAD]", unknownPiece, "[CLS]", "[SEP]", "[MASK]"} }

// Special holds the ids of the word pieces that stand for no text: padding, an
// unknown word, the start of a sequence, the end of a sentence, a hidden piece.
// They are called [PAD], [UNK], [CLS], [SEP] and [MASK] by BERT and <pad>, <unk>,
// <s>, </s> and <mask> by RoBERTa. GPT-2 has <|endoftext|> for an unknown word, a
// start and an end. A piece that is not there is -1, which no model takes.
type Special struct{ Pad, UNK, CLS, SEP, Mask int32 }

// contains reports whether id is one of them.
func (s Special) contains(id int32) bool {
	return slices.Contains([]int32{s.Pad, s.UNK, s.CLS, s.SEP, s.Mask}, id)
}

// A Tokenizer cuts text into the word pieces of BERT or the byte pairs of GPT-2
// and RoBERTa. It is safe for concurrent use.
type Tokenizer struct {
	Special Special // ids of the special word pieces
	size    int
	words   []string  // text of every id
	longest int       // runes of a word; a longer one is unknown
	lower   bool      // the normalizer writes capital letters small
	added   addedList // words that the model does not cut
	pieces  *hftokenizer.Tokenizer
	pairs   *bytePairs // in place of pieces, for GPT-2 and RoBERTa
	meaning meaning
}

// Limits on what a file of a tokenizer may ask for.
const (
	maxTokenizer = 1 << 28 // bytes of the file
	maxPieceID   = 1 << 24
	maxLongest   = 1000 // runes of a word: the time to cut it grows with their square
)

// NewTokenizer returns the uncased tokenizer of a vocabulary; the id of a word
// piece is its index. The vocabulary must hold [PAD], [UNK], [CLS], [SEP] and
// [MASK], and no word piece twice; otherwise the error is [ErrVocabulary].
func NewTokenizer(vocabulary []string) (*Tokenizer, error) {
	return fromVocabulary(vocabulary, settings{})
}

// fromVocabulary returns the tokenizer of the lines of a vocab.txt.
func fromVocabulary(vocabulary []string, c settings) (*Tokenizer, error) {
	ids := map[string]int{}
	for i, piece := range vocabulary {
		piece = strings.TrimSuffix(piece, "\r")
		if first, twice := ids[piece]; twice {
			return nil, fmt.Errorf("%w: %q stands at %d and at %d", ErrVocabulary, piece, first, i)
		}
		ids[piece] = i
	}
	raw, err := json.Marshal(map[string]any{
		"normalizer": map[string]any{
			"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true,
		},
		"pre_tokenizer": map[string]any{"type": "BertPreTokenizer"},
		"model": map[string]any{
			"type": "WordPiece", "unk_token": unknownPiece, "continuing_subword_prefix": "##", "vocab": ids,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	return fromJSON(raw, c)
}

// wordPiece holds the fields of the model in a tokenizer.json that are read.
type wordPiece struct {
	Type    string         `json:"type"`
	Vocab   map[string]int `json:"vocab"`
	Longest int            `json:"max_input_chars_per_word"`
}

// fromJSON reads a tokenizer.json.
func fromJSON(raw []byte, c settings) (*Tokenizer, error) {
	var file map[string]json.RawMessage
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, err)
	}
	var added []addedToken
	if raw, ok := file["added_tokens"]; ok {
		if err := json.Unmarshal(raw, &added); err != nil {
			return nil, fmt.Errorf("%w: added_tokens: %w", ErrVocabulary, err)
		}
	}
	err := json.Unmarshal(file["model"], &head)
	t := &Tokenizer{}
	var vocabulary map[string]int
	switch {
	case err == nil && head.Type == "WordPiece":
		vocabulary, err = t.readWordPieces(file, c)
	case err == nil && head.Type == "BPE":
		vocabulary, err = t.readBytePairs(file)
	default:
		return nil, fmt.Errorf("%w: a model of type %q, want WordPiece or BPE", ErrVocabulary, head.Type)
	}
	if err != nil {
		return nil, err
	}
	return t, t.addTokens(vocabulary, append(added, c.added...), c.special)
}

// readWordPieces reads a model of word pieces, and returns its vocabulary.
func (t *Tokenizer) readWordPieces(file map[string]json.RawMessage, c settings) (map[string]int, error) {
	var model wordPiece
	if err := json.Unmarshal(file["model"], &model); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, err)
	}
	t.longest = model.Longest
	if t.longest <= 0 {
		t.longest = 100
	}
	if t.longest > maxLongest {
		return nil, fmt.Errorf("%w: max_input_chars_per_word is %d, at most %d", ErrVocabulary, t.longest, maxLongest)
	}
	if err := c.applyTo(file); err != nil {
		return nil, err
	}
	if err := errors.Join(t.checkNormalizer(file["normalizer"]), checkPreTokenizer(file["pre_tokenizer"])); err != nil {
		return nil, err
	}
	var unknown []hftokenizer.AddedToken
	for _, piece := range SpecialPieces() {
		id, ok := model.Vocab[piece]
		if !ok {
			return nil, fmt.Errorf("%w: no %s", ErrVocabulary, piece)
		}
		if piece == unknownPiece { // long words are replaced by it
			unknown = append(unknown, hftokenizer.AddedToken{ID: id, Content: piece, Special: true})
		}
	}
	var err error
	if t.meaning.rules, err = t.wordRules(file); err != nil {
		return nil, err
	}
	t.pieces, err = wordPieces(file, unknown)
	return model.Vocab, err
}

// checkNormalizer notes whether a normalizer ignores case, and refuses one that is of
// no model with word pieces: some make a text longer again and again, such as nested
// replacements. A sequence holds no sequences.
func (t *Tokenizer) checkNormalizer(raw json.RawMessage) error {
	steps, err := stepsOf(raw, "normalizer", "BertNormalizer", "Lowercase", "StripAccents", "Strip", "NFC", "NFD", "NFKC",
		"NFKD")
	for _, n := range steps {
		t.lower = t.lower || n.Lower || n.Type == "Lowercase"
	}
	return err
}

// checkPreTokenizer refuses what does not split a text at white space and punctuation.
func checkPreTokenizer(raw json.RawMessage) error {
	_, err := stepsOf(raw, "pre_tokenizer", "BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation")
	return err
}

// step is a normalizer or a pre_tokenizer of a tokenizer.json.
type step struct {
	Type  string `json:"type"`
	Lower bool   `json:"lowercase"`
}

// stepsOf reads a step of a tokenizer.json, or a sequence of them, whose types must be
// among those that are known.
func stepsOf(raw json.RawMessage, key string, known ...string) ([]step, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var outer struct {
		step
		Normalizers   []step `json:"normalizers"`
		PreTokenizers []step `json:"pretokenizers"`
	}
	if err := json.Unmarshal(raw, &outer); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrVocabulary, key, err)
	}
	steps := []step{outer.step}
	if outer.Type == "Sequence" {
		steps = slices.Concat(outer.Normalizers, outer.PreTokenizers)
	}
	for _, s := range steps {
		if !slices.Contains(known, s.Type) {
			return nil, fmt.Errorf("%w: a %s of type %q, want %s", ErrVocabulary, key, s.Type, known[0])
		}
	}
	return steps, nil
}

// wordPieces builds the tokenizer of go-huggingface. Its limit on the length of
// words counts bytes where it should count runes, so it is lifted here, and
// [Tokenizer.splitWords] enforces it instead.
func wordPieces(file map[string]json.RawMessage, added []hftokenizer.AddedToken) (*hftokenizer.Tokenizer, error) {
	var model map[string]json.RawMessage
	if err := json.Unmarshal(file["model"], &model); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, err)
	}
	model["max_input_chars_per_word"] = json.RawMessage("1000000000")
	file["post_processor"] = json.RawMessage("null")
	for name, v := range map[string]any{"model": model, "added_tokens": added} {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("text: %w", err)
		}
		file[name] = raw
	}
	raw, err := json.Marshal(file)
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	t, err := hftokenizer.NewFromContent(nil, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, err)
	}
	return t, t.With(api.EncodeOptions{})
}

// Size returns the number of ids, which is the largest id plus one. The table of a
// network may have more rows, which no word uses.
func (t *Tokenizer) Size() int { return t.size }

// Encode returns the ids of a text, without [CLS] and [SEP].
func (t *Tokenizer) Encode(s string) []int32 {
	var ids []int32
	t.added.raw.split(s, func(rest string, id int32) {
		if id >= 0 {
			ids = append(ids, id)
			return
		}
		if t.added.normalized.empty() {
			ids = t.encodeWords(ids, rest)
			return
		}
		t.added.normalized.split(t.normalize(rest), func(rest string, id int32) {
			if id >= 0 {
				ids = append(ids, id)
				return
			}
			ids = t.encodeWords(ids, rest)
		})
	})
	return ids
}

// encodeWords appends the ids of a text without added words.
func (t *Tokenizer) encodeWords(ids []int32, s string) []int32 {
	if t.pairs != nil {
		return t.pairs.encode(ids, s)
	}
	for _, word := range t.splitWords(s) {
		for _, id := range t.pieces.Encode(word) {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

// normalize returns a text as the model reads it.
func (t *Tokenizer) normalize(s string) string {
	if t.pairs != nil {
		return t.pairs.form(s)
	}
	return t.pieces.Normalize(t.clean(s))
}
