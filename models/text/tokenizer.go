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

// special are the word pieces that every vocabulary must hold, in the order of
// the fields of [Special].
var special = [...]string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}

// Special holds the ids of the word pieces that stand for no text.
type Special struct{ Pad, Unknown, Start, End, Mask int32 }

// has tells whether id is one of them.
func (s Special) has(id int32) bool {
	return slices.Contains([]int32{s.Pad, s.Unknown, s.Start, s.End, s.Mask}, id)
}

// A Tokenizer cuts text into the word pieces of BERT. It is safe for concurrent
// use.
type Tokenizer struct {
	Special Special
	size    int
	longest int // runes of a word; a longer one is unknown
	pieces  *hftokenizer.Tokenizer
}

// OpenTokenizer reads a tokenizer from a file as [ParseTokenizer] does from its
// text.
func OpenTokenizer(path string) (*Tokenizer, error) {
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

// ParseTokenizer reads a tokenizer from the text of a file of that name: of a
// tokenizer.json, or of a vocab.txt of one word piece a line, which is then that
// of an uncased model.
func ParseTokenizer(name string, raw []byte) (*Tokenizer, error) {
	if strings.HasSuffix(name, ".json") {
		return fromJSON(raw)
	}
	return NewTokenizer(strings.Split(strings.TrimRight(string(raw), "\r\n"), "\n"))
}

// NewTokenizer returns the uncased tokenizer of a vocabulary; the id of a word
// piece is its index. The vocabulary must hold [PAD], [UNK], [CLS], [SEP] and
// [MASK], and nothing twice: [ErrVocabulary].
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
		"normalizer":    map[string]any{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true},
		"pre_tokenizer": map[string]any{"type": "BertPreTokenizer"},
		"model":         map[string]any{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": ids},
	})
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	return fromJSON(raw)
}

// wordPiece is what is asked of the model in a tokenizer.json.
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
	added := make([]hftokenizer.AddedToken, len(special))
	for i, at := range []*int32{&t.Special.Pad, &t.Special.Unknown, &t.Special.Start, &t.Special.End, &t.Special.Mask} {
		id, ok := model.Vocab[special[i]]
		if !ok {
			return nil, fmt.Errorf("%w: no %s", ErrVocabulary, special[i])
		}
		*at = int32(id)
		added[i] = hftokenizer.AddedToken{ID: id, Content: special[i], Special: true}
	}
	for piece, id := range model.Vocab {
		if id < 0 || id >= 1<<24 {
			return nil, fmt.Errorf("%w: %q has id %d", ErrVocabulary, piece, id)
		}
		t.size = max(t.size, id+1)
	}
	var err error
	t.pieces, err = inner(file, added)
	return t, err
}

// inner builds the tokenizer of the library. Its own limit on the length of
// words counts bytes where it should count runes, so it is lifted here and kept
// by [Tokenizer.words].
func inner(file map[string]json.RawMessage, added []hftokenizer.AddedToken) (*hftokenizer.Tokenizer, error) {
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

// Size returns the number of ids: the largest plus one.
func (t *Tokenizer) Size() int { return t.size }

// Encode returns the ids of a text, without [CLS] and [SEP].
func (t *Tokenizer) Encode(s string) []int32 {
	var ids []int32
	for _, word := range t.words(s) {
		for _, id := range t.pieces.Encode(word) {
			ids = append(ids, int32(id))
		}
	}
	return ids
}
