package text

import (
	"encoding/json"
	"fmt"
	"os"
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
type Special struct{ Pad, UNK, CLS, SEP, Mask int32 }

// contains reports whether id is one of them.
func (s Special) contains(id int32) bool {
	return slices.Contains([]int32{s.Pad, s.UNK, s.CLS, s.SEP, s.Mask}, id)
}

// A Tokenizer cuts text into the word pieces of BERT. It is safe for concurrent
// use.
type Tokenizer struct {
	Special Special // ids of the special word pieces
	size    int
	longest int // runes of a word; a longer one is unknown
	pieces  *hftokenizer.Tokenizer
}

// Limits on what a file of a tokenizer may ask for.
const (
	maxTokenizer = 1 << 28 // bytes of the file
	maxPieceID   = 1 << 24
	maxLongest   = 1000 // runes of a word: the time to cut it grows with their square
)

// OpenTokenizer reads a tokenizer from a file, as [ParseTokenizer] says.
func OpenTokenizer(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("text: %w", err)
	case !info.Mode().IsRegular() || info.Size() > maxTokenizer: // reading a pipe would block
		return nil, fmt.Errorf("%w: not a regular file of at most %d bytes (%s)", ErrVocabulary, maxTokenizer, path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	t, err := ParseTokenizer(path, raw)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, path)
	}
	return t, nil
}

// ParseTokenizer reads a tokenizer from the content of a file. Where the name ends
// in .json it is a tokenizer.json with a WordPiece model; otherwise it is a
// vocab.txt with one word piece on each line, of an uncased model. The error is
// [ErrVocabulary].
func ParseTokenizer(name string, raw []byte) (*Tokenizer, error) {
	if strings.HasSuffix(name, ".json") {
		return fromJSON(raw)
	}
	return NewTokenizer(strings.Split(strings.TrimRight(string(raw), "\r\n"), "\n"))
}

// NewTokenizer returns the uncased tokenizer of a vocabulary; the id of a word
// piece is its index. The vocabulary must hold [PAD], [UNK], [CLS], [SEP] and
// [MASK], and no word piece twice; otherwise the error is [ErrVocabulary].
func NewTokenizer(vocabulary []string) (*Tokenizer, error) {
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
	return fromJSON(raw)
}

// wordPiece holds the fields of the model in a tokenizer.json that are read.
type wordPiece struct {
	Type    string         `json:"type"`
	Vocab   map[string]int `json:"vocab"`
	Longest int            `json:"max_input_chars_per_word"`
}

// fromJSON reads a tokenizer.json.
func fromJSON(raw []byte) (*Tokenizer, error) {
	var file map[string]json.RawMessage
	var head struct {
		Type string `json:"type"`
	}
	var model wordPiece
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, err)
	}
	if err := json.Unmarshal(file["model"], &head); err != nil || head.Type != "WordPiece" {
		return nil, fmt.Errorf("%w: a model of type %q, want WordPiece", ErrVocabulary, head.Type)
	}
	if err := json.Unmarshal(file["model"], &model); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, err)
	}
	t := &Tokenizer{longest: model.Longest}
	if t.longest <= 0 {
		t.longest = 100
	}
	if t.longest > maxLongest {
		return nil, fmt.Errorf("%w: max_input_chars_per_word is %d, at most %d", ErrVocabulary, t.longest, maxLongest)
	}
	if err := checkNormalizer(file["normalizer"]); err != nil {
		return nil, err
	}
	special := SpecialPieces()
	added := make([]hftokenizer.AddedToken, len(special))
	for i, at := range []*int32{&t.Special.Pad, &t.Special.UNK, &t.Special.CLS, &t.Special.SEP, &t.Special.Mask} {
		id, ok := model.Vocab[special[i]]
		if !ok {
			return nil, fmt.Errorf("%w: no %s", ErrVocabulary, special[i])
		}
		*at = int32(id)
		added[i] = hftokenizer.AddedToken{ID: id, Content: special[i], Special: true}
	}
	for piece, id := range model.Vocab {
		if id < 0 || id >= maxPieceID {
			return nil, fmt.Errorf("%w: %q has id %d", ErrVocabulary, piece, id)
		}
		t.size = max(t.size, id+1)
	}
	var err error
	t.pieces, err = wordPieces(file, added)
	return t, err
}

// checkNormalizer refuses a normalizer that can make a text longer again and
// again, such as nested replacements.
func checkNormalizer(raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	var n struct {
		Type        string            `json:"type"`
		Normalizers []json.RawMessage `json:"normalizers"`
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return fmt.Errorf("%w: normalizer: %w", ErrVocabulary, err)
	}
	switch n.Type {
	case "", "BertNormalizer", "Lowercase", "StripAccents", "Strip", "NFC", "NFD", "NFKC", "NFKD":
		return nil
	case "Sequence":
		for _, part := range n.Normalizers {
			if err := checkNormalizer(part); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%w: a normalizer of type %q, want BertNormalizer", ErrVocabulary, n.Type)
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

// Size returns the number of ids, which is the largest id plus one.
func (t *Tokenizer) Size() int { return t.size }

// Encode returns the ids of a text, without [CLS] and [SEP].
func (t *Tokenizer) Encode(s string) []int32 {
	var ids []int32
	for _, word := range t.splitWords(s) {
		for _, id := range t.pieces.Encode(word) {
			ids = append(ids, int32(id))
		}
	}
	return ids
}
