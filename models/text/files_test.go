package text_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/text"
)

// TestEncodeLikeTokenizers: ids of odd strings. The vocabularies were made up, and
// the ids computed, with tokenizers 0.23.3 of Python: byte pairs of RoBERTa and
// GPT-2, word pieces uncased, cased, with accents and with ideographs together, all
// but GPT-2 with added words of every kind.
func TestEncodeLikeTokenizers(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "tokenizers.json"))
	require.NoError(t, err)
	var file struct {
		Texts      []string
		Tokenizers []struct {
			Name string
			File json.RawMessage
			IDs  [][]int32
		}
	}
	require.NoError(t, json.Unmarshal(raw, &file))
	require.Len(t, file.Tokenizers, 6)
	for _, want := range file.Tokenizers {
		tok, err := text.ParseTokenizer("tokenizer.json", want.File)
		require.NoError(t, err, want.Name)
		for i, s := range file.Texts {
			assert.Equal(t, want.IDs[i], append([]int32{}, tok.Encode(s)...), "%s: %q", want.Name, s)
		}
		switch want.Name {
		case "roberta":
			assert.Equal(t, text.Special{Pad: 1, UNK: 3, CLS: 0, SEP: 2, Mask: 320}, tok.Special)
			assert.Equal(t, 323, tok.Size())
		case "gpt2":
			assert.Equal(t, text.Special{Pad: -1, Mask: -1}, tok.Special)
		}
	}
}

// TestBytePairs: ids that follow from a vocabulary by hand.
func TestBytePairs(t *testing.T) {
	files := map[string][]byte{
		"vocab.json": []byte(`{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6, "Ġ": 7, "Ġab": 8,
			"aba": 9, "Ã": 10, "©": 11, "<mask>": 12, "Ċ": 13}`),
		// ab is joined before aba can be, and aba only where it comes first.
		"merges.txt": []byte("#version: 0.2\na b\nĠ ab\nab a\n"),
		"special_tokens_map.json": []byte(`{"mask_token": {"content": "<mask>", "lstrip": true}, "unk_token": "<unk>",
			"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}`),
		"tokenizer_config.json": []byte(`{"added_tokens_decoder":
			{"12": {"content": "<mask>", "lstrip": true, "special": true}}, "extra_special_tokens": {}}`),
	}
	tok, err := text.ReadTokenizer(files)
	require.NoError(t, err)
	assert.Equal(t, text.Special{Pad: 1, UNK: 3, CLS: 0, SEP: 2, Mask: 12}, tok.Special)
	for s, want := range map[string][]int32{
		"abab":       {6, 6},
		"aba aba":    {9, 8, 4},
		"é":          {10, 11},
		"a  b\n":     {4, 7, 7, 5, 13},
		"ab  <mask>": {6, 12},
		"<s>a":       {0, 4},
		"axb":        {4, 5}, // x has no id, and the vocabulary no unk_token of its own
	} {
		assert.Equal(t, want, tok.Encode(s), "%q", s)
	}
	long := tok.Encode(strings.Repeat("ab", 1<<17))
	assert.Len(t, long, 1<<17)

	files["tokenizer_config.json"] = []byte(`{"add_prefix_space": true}`)
	tok, err = text.ReadTokenizer(files)
	require.NoError(t, err)
	assert.Equal(t, []int32{8, 8}, tok.Encode("ab ab"))

	delete(files, "merges.txt")
	_, err = text.ReadTokenizer(files)
	require.ErrorIs(t, err, text.ErrVocabulary)
	require.ErrorContains(t, err, "vocab.json without merges.txt")
	_, err = text.ReadTokenizer(nil)
	require.ErrorIs(t, err, text.ErrVocabulary)
	for content, want := range map[string]string{
		`{"model": {"type": "BPE", "vocab": {"a": 0}}}`: `a pre_tokenizer of type "", want ByteLevel`,
		`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}, "pre_tokenizer": {"type": "ByteLevel"}}`://
		`merge 0 makes "ab", which the vocabulary lacks`,
		`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["ab"]}, "pre_tokenizer": {"type": "ByteLevel"}}`://
		`merge "ab" has no space`,
		`{"model": {"type": "BPE", "vocab": {"a": -1}}, "pre_tokenizer": {"type": "ByteLevel"}}`: `"a" has id -1`,
		`{"model": {"type": "BPE", "vocab": {"a": 1}, "end_of_word_suffix": "</w>"}, "pre_tokenizer": {"type": "ByteLevel"}}`://
		"end_of_word_suffix",
	} {
		_, err := text.ParseTokenizer("tokenizer.json", []byte(content))
		require.ErrorIs(t, err, text.ErrVocabulary)
		require.ErrorContains(t, err, want)
	}
}

// TestSettingsBesideVocabulary: tokenizer_config.json says how a vocab.txt is read.
func TestSettingsBesideVocabulary(t *testing.T) {
	vocabulary := "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nB\n##I\n##G\nis\nb\n##ig\n##i\n##g\ncafe\ncafé\n北\n##京\n京\nCAFÉ\n"
	for settings, want := range map[string][]int32{
		`{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}`: {8, 5, 6, 7, 18, 15, 17},
		`{}`:                       {8, 9, 10, 13, 15, 17},
		`{"strip_accents": false}`: {8, 9, 10, 14, 15, 17},
		`{"do_lower_case": false, "strip_accents": true}`: {8, 5, 6, 7, 1, 15, 17},
		`{"tokenize_chinese_chars": false}`:               {8, 9, 10, 13, 15, 16},
	} {
		folder := t.TempDir()
		for name, content := range map[string]string{"vocab.txt": vocabulary, "tokenizer_config.json": settings} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600))
		}
		for _, path := range []string{folder, filepath.Join(folder, "vocab.txt")} {
			tok, err := text.OpenTokenizer(path)
			require.NoError(t, err)
			assert.Equal(t, want, tok.Encode("is BIG CAFÉ 北京"), settings)
		}
	}
	_, err := text.ReadTokenizer(map[string][]byte{"vocab.txt": []byte(vocabulary), "tokenizer_config.json": []byte("{")})
	require.ErrorIs(t, err, text.ErrVocabulary)
	require.ErrorContains(t, err, "tokenizer_config.json: ")
}

// TestAddedTokens: words that were added are found whole, and counted.
func TestAddedTokens(t *testing.T) {
	files := map[string][]byte{
		"vocab.txt":         []byte(strings.Join(small, "\n")),
		"added_tokens.json": []byte(`{"<user>": 19, "covid19": 20}`),
		"tokenizer_config.json": []byte(`{"mask_token": "<hide>", "added_tokens_decoder": {
			"21": {"content": "[E1]", "special": true}, "22": {"content": "<hide>", "lstrip": true, "special": true}}}`),
	}
	tok, err := text.ReadTokenizer(files)
	require.NoError(t, err)
	assert.Equal(t, 23, tok.Size())
	assert.Equal(t, int32(22), tok.Special.Mask)
	assert.Equal(t, []int32{5, 19, 14, 20, 21, 22, 5}, tok.Encode("the <USER> a Covid19 [E1] <hide> the"))
	files["added_tokens.json"] = []byte(`{"<user>": -1}`)
	_, err = text.ReadTokenizer(files)
	require.ErrorIs(t, err, text.ErrVocabulary)
	files["tokenizer_config.json"] = []byte(`{"added_tokens_decoder": {"x": {"content": "y"}}}`)
	delete(files, "added_tokens.json")
	_, err = text.ReadTokenizer(files)
	require.ErrorContains(t, err, `added token "y" has id "x"`)
}

// TestDottedI: the capital I with a dot becomes i and a combining dot, which is an
// accent.
func TestDottedI(t *testing.T) {
	vocabulary := "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nistanbul\ni\u0307stanbul\nbig\n"
	for settings, want := range map[string][]int32{`{}`: {5, 7}, `{"strip_accents": false}`: {6, 7}} {
		tok, err := text.ReadTokenizer(map[string][]byte{
			"vocab.txt": []byte(vocabulary), "tokenizer_config.json": []byte(settings)})
		require.NoError(t, err)
		assert.Equal(t, want, tok.Encode("\u0130stanbul BIG"), settings)
	}
}

// TestSameTokenizer: tokenizers are compared by meaning, not by bytes.
func TestSameTokenizer(t *testing.T) {
	ids := map[string]int{}
	for i, piece := range small {
		ids[piece] = i
	}
	vocabulary, err := json.Marshal(ids)
	require.NoError(t, err)
	written := func(format, more string, lower bool) []byte {
		raw, err := json.MarshalIndent(json.RawMessage(fmt.Sprintf(format, more, lower, vocabulary)), "", "    ")
		require.NoError(t, err)
		return raw
	}
	const format = `{%s "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
		"strip_accents": null, "lowercase": %t}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,
		"model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": %s}}`
	one := func(name string, raw []byte) map[string][]byte { return map[string][]byte{name: raw} }
	plain := one("tokenizer.json", written(format, "", true))
	lines := strings.Join(small, "\n")
	for name, same := range map[string]map[string][]byte{
		"itself":      plain,
		"truncation":  one("tokenizer.json", written(format, `"truncation": {"max_length": 9}, "padding": {"pad_id": 0},`, true)),
		"indentation": one("tokenizer.json", []byte(fmt.Sprintf(format, "", true, vocabulary))),
		"special tokens as added ones": one("tokenizer.json", written(format,
			`"added_tokens": [{"id": 4, "content": "[MASK]", "special": true}],`, true)),
		"vocab.txt":        one("vocab.txt", []byte(lines)),
		"its last newline": one("vocab.txt", []byte(lines+"\n")),
		"CRLF":             one("vocab.txt", []byte(strings.ReplaceAll(lines, "\n", "\r\n")+"\r\n")),
		"none":             {"config.json": nil},
	} {
		require.NoError(t, text.SameTokenizer(plain, same), name)
		require.NoError(t, text.SameTokenizer(same, plain), name)
	}
	for want, other := range map[string]map[string][]byte{
		"how they make words": one("tokenizer.json", written(format, "", false)),
		`the added token "<user>"`: one("tokenizer.json", written(format,
			`"added_tokens": [{"id": 19, "content": "<user>"}],`, true)),
		`id 5, which is "the" in one of them only`: one("vocab.txt", []byte(strings.Replace(lines, "the\n", "thee\n", 1))),
		"cannot be compared otherwise":             one("tokenizer.json", []byte(`{"model": {"type": "Unigram"}}`)),
	} {
		for _, err := range []error{text.SameTokenizer(plain, other), text.SameTokenizer(other, plain)} {
			require.ErrorIs(t, err, text.ErrDifferent)
			require.ErrorContains(t, err, want)
		}
	}
	unigram := one("tokenizer.json", []byte(`{"model": {"type": "Unigram"}}`))
	require.NoError(t, text.SameTokenizer(unigram, unigram))
}
