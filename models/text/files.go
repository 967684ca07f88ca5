package text

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/otfuse/otfuse/internal/bounded"
)

// The files that describe a tokenizer.
const (
	tokenizerFile = "tokenizer.json"
	lineFile      = "vocab.txt"
	pairFile      = "vocab.json"
	mergeFile     = "merges.txt"
	settingsFile  = "tokenizer_config.json"
	specialFile   = "special_tokens_map.json"
	addedFile     = "added_tokens.json"
)

// OpenTokenizer reads a tokenizer from a folder, as [ReadTokenizer] says, or from
// one of its files. The settings and the added tokens that lie beside that file
// belong to it.
func OpenTokenizer(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("text: %w", err)
	}
	folder, name := path, ""
	names := []string{tokenizerFile, lineFile, pairFile, mergeFile, settingsFile, specialFile, addedFile}
	if !info.IsDir() {
		folder, name = filepath.Split(path)
		names = []string{mergeFile, settingsFile, specialFile, addedFile}
	}
	files := map[string][]byte{}
	for _, beside := range names {
		raw, err := readFile(filepath.Join(folder, beside))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files[beside] = raw
	}
	if name != "" {
		raw, err := readFile(path)
		if err != nil {
			return nil, err
		}
		files[canonical(name, raw)] = raw
	}
	t, err := ReadTokenizer(files)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, path)
	}
	return t, nil
}

// readFile reads a file of a tokenizer.
func readFile(path string) ([]byte, error) {
	raw, err := bounded.ReadFile(path, maxTokenizer)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("text: %w", err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrVocabulary, err)
	}
	return raw, nil
}

// canonical returns the name that a file of a tokenizer should have.
func canonical(name string, raw []byte) string {
	switch {
	case !strings.HasSuffix(name, ".json"):
		return lineFile
	case name == pairFile && !strings.Contains(string(raw[:min(len(raw), 1<<16)]), `"model"`):
		return pairFile
	}
	return tokenizerFile
}

// ParseTokenizer reads a tokenizer from the content of a single file. Where the
// name ends in .json it is a tokenizer.json with a model of type WordPiece or BPE;
// otherwise it is a vocab.txt with one word piece on each line, of an uncased
// model. The error is [ErrVocabulary].
func ParseTokenizer(name string, raw []byte) (*Tokenizer, error) {
	return ReadTokenizer(map[string][]byte{canonical(name, nil): raw})
}

// ReadTokenizer reads the tokenizer of a checkpoint from its files: tokenizer.json,
// or else vocab.json and merges.txt, or else vocab.txt, with what
// tokenizer_config.json (do_lower_case, strip_accents, tokenize_chinese_chars, the
// names of special tokens, added tokens), special_tokens_map.json and
// added_tokens.json say of it. Other files are ignored. The error is
// [ErrVocabulary].
func ReadTokenizer(files map[string][]byte) (*Tokenizer, error) {
	c, err := readSettings(files)
	if err != nil {
		return nil, err
	}
	if raw, ok := files[tokenizerFile]; ok {
		return fromJSON(raw, c)
	}
	if raw, ok := files[pairFile]; ok {
		return fromPairs(raw, files[mergeFile], c)
	}
	if raw, ok := files[lineFile]; ok {
		return fromVocabulary(strings.Split(strings.TrimRight(string(raw), "\r\n"), "\n"), c)
	}
	return nil, fmt.Errorf("%w: neither %s nor %s nor %s", ErrVocabulary, tokenizerFile, pairFile, lineFile)
}

// settings is what the files beside a vocabulary say of it.
type settings struct {
	lower, accents, ideographs *bool // nil where nothing is said
	space                      bool  // a text begins with a space
	added                      []addedToken
	special                    specialNames
}

// tokenName is the name of a token, which is written as a string or as the token.
type tokenName string

// UnmarshalJSON reads either form.
func (n *tokenName) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, (*string)(n))
	}
	var token addedToken
	err := json.Unmarshal(raw, &token)
	*n = tokenName(token.Content)
	return err
}

// settingKeys holds the keys of tokenizer_config.json and special_tokens_map.json
// that are read.
type settingKeys struct {
	Lower      *bool                 `json:"do_lower_case"`
	Accents    *bool                 `json:"strip_accents"`
	Ideographs *bool                 `json:"tokenize_chinese_chars"`
	Space      bool                  `json:"add_prefix_space"`
	Added      map[string]addedToken `json:"added_tokens_decoder"`
	Pad        tokenName             `json:"pad_token"`
	UNK        tokenName             `json:"unk_token"`
	CLS        tokenName             `json:"cls_token"`
	SEP        tokenName             `json:"sep_token"`
	Mask       tokenName             `json:"mask_token"`
}

// readSettings reads the files beside a vocabulary.
func readSettings(files map[string][]byte) (settings, error) {
	var keys, special settingKeys
	ids := map[string]int{}
	for name, into := range map[string]any{settingsFile: &keys, specialFile: &special, addedFile: &ids} {
		raw, ok := files[name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return settings{}, fmt.Errorf("%w: %s: %w", ErrVocabulary, name, err)
		}
	}
	c := settings{lower: keys.Lower, accents: keys.Accents, ideographs: keys.Ideographs, space: keys.Space,
		special: specialNames{
			Pad: string(cmp.Or(keys.Pad, special.Pad)), UNK: string(cmp.Or(keys.UNK, special.UNK)),
			CLS: string(cmp.Or(keys.CLS, special.CLS)), SEP: string(cmp.Or(keys.SEP, special.SEP)),
			Mask: string(cmp.Or(keys.Mask, special.Mask)),
		}}
	for _, content := range slices.Sorted(maps.Keys(ids)) {
		c.added = append(c.added, addedToken{ID: ids[content], Content: content, Normalized: true})
	}
	for _, number := range slices.Sorted(maps.Keys(keys.Added)) {
		a := keys.Added[number]
		var err error
		if a.ID, err = strconv.Atoi(number); err != nil {
			return settings{}, fmt.Errorf("%w: %s: added token %q has id %q", ErrVocabulary, settingsFile, a.Content, number)
		}
		c.added = append(c.added, a)
	}
	return c, nil
}

// applyTo writes the settings into the normalizer of a tokenizer.json, where that
// is the one of BERT. Text is cleaned by [Tokenizer.clean]: go-huggingface would take
// ideographs apart with it, even where they are to stay together.
func (c settings) applyTo(file map[string]json.RawMessage) error {
	var normalizer map[string]json.RawMessage
	if raw := file["normalizer"]; len(raw) == 0 || json.Unmarshal(raw, &normalizer) != nil ||
		string(normalizer["type"]) != `"BertNormalizer"` {
		return nil //nolint:nilerr // another normalizer has no such settings
	}
	for key, value := range map[string]*bool{
		"clean_text": new(false), "lowercase": c.lower, "strip_accents": c.accents, "handle_chinese_chars": c.ideographs,
	} {
		if value != nil {
			normalizer[key] = strconv.AppendBool(nil, *value)
		}
	}
	raw, err := json.Marshal(normalizer)
	if err != nil {
		return fmt.Errorf("%w: normalizer: %w", ErrVocabulary, err)
	}
	file["normalizer"] = raw
	return nil
}
