package text_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/otfuse/otfuse/models/text"
)

// small is a vocabulary for tests that need no data.
var small = []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "un", "##aff", "##able",
	"cafe", "北", "京", "!", ",", "a", "##a", "'", "don", "t"}

func smallTokenizer(t *testing.T) *text.Tokenizer {
	tok, err := text.NewTokenizer(small)
	require.NoError(t, err)
	return tok
}

// The ids are those of BertTokenizer of Python's transformers 4.57.1.
func TestEncodeSmallVocabulary(t *testing.T) {
	tok := smallTokenizer(t)
	assert.Equal(t, text.Special{Pad: 0, UNK: 1, CLS: 2, SEP: 3, Mask: 4}, tok.Special)
	assert.Equal(t, len(small), tok.Size())
	for s, want := range map[string][]int32{
		"The unaffable CAFÉ, 北京!": {5, 6, 7, 8, 9, 13, 10, 11, 12},
		"don't aaa b":             {17, 16, 18, 14, 15, 15, 1},
		"un [MASK] the":           {6, 4, 5},
		strings.Repeat("a", 101):  {1},
	} {
		assert.Equal(t, want, tok.Encode(s), s)
	}
}

// The same, with the vocabulary of bert-base-uncased.
func TestEncodeLikeTransformers(t *testing.T) {
	folder := os.Getenv("OTFUSE_DATA")
	if folder == "" {
		t.Skip("OTFUSE_DATA is not set")
	}
	tok, err := text.OpenTokenizer(filepath.Join(folder, "bert-base-uncased-vocab.txt"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no vocabulary of bert-base-uncased")
	}
	require.NoError(t, err)
	assert.Equal(t, 30522, tok.Size())
	for _, c := range []struct {
		in   string
		want []int32
	}{
		{"Hello, world!", []int32{7592, 1010, 2088, 999}},
		{"Caf\u00e9 na\u00efve \u00c0\u00c9\u00ce\u00d5\u00dc", []int32{7668, 15743, 29347, 3695, 2226}},
		{"\u5317\u4eac is \u6f22\u5b57", []int32{1781, 1755, 2003, 1904, 100}},
		{"don't stop...(now)", []int32{2123, 1005, 1056, 2644, 1012, 1012, 1012, 1006, 2085, 1007}},
		{"unaffable", []int32{14477, 20961, 3468}},
		{"x\u0000y\ufffdz\tq\u200bw", []int32{1060, 2100, 2480, 1053, 2860}},
		{"$5.00 + 3^2 = `~|", []int32{1002, 1019, 1012, 4002, 1009, 1017, 1034, 1016, 1027, 1036, 1066, 1064}},
		{"[MASK] of [UNK]", []int32{103, 1997, 100}},
		{"[mask]", []int32{1031, 7308, 1033}},
		{"\u0130stanbul stra\u00dfe \u00f1", []int32{9960, 2358, 27807, 1050}},
		{"\ud55c\uad6d\uc5b4 \u3072\u3089\u304c\u306a",
			[]int32{1469, 30006, 30021, 29991, 30014, 30020, 29999, 30008, 1673, 30211, 30177, 30193}},
		{"\u201cquoted\u201d \u2014 dash\u2026", []int32{1523, 9339, 1524, 1517, 11454, 1529}},
		{"", nil},
		{"  \n ", nil},
		{"🙂 ok", []int32{100, 7929}},
		{"n\u0303 e\u0301", []int32{1050, 1041}},
		{"x\u00ady a\u2028b x\u0085y", []int32{1060, 2100, 1037, 1038, 1060, 2100}},
		{"ΟΔΟΣ", []int32{1169, 29722, 29730, 29733}},
		{strings.Repeat("a", 101), []int32{100}},
		{strings.Repeat("a", 101) + ".b", []int32{100, 1012, 1038}},
		{strings.Repeat("п", 101), []int32{100}},
		{strings.Repeat("п", 60), append([]int32{1194}, slices.Repeat([]int32{29746}, 59)...)}, // 120 bytes
		{strings.Repeat("漢", 120), slices.Repeat([]int32{1904}, 120)},
		{strings.Repeat("e\u0301", 60), append([]int32{25212}, slices.Repeat([]int32{4402}, 29)...)},
	} {
		assert.Equal(t, c.want, tok.Encode(c.in), "%q", c.in)
	}
	assert.Len(t, tok.Encode(strings.Repeat("a", 100)), 50)
}

func TestTokenizerFromFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	lines, err := text.OpenTokenizer(write("vocab.txt", strings.Join(small, "\r\n")+"\r\n"))
	require.NoError(t, err)
	cased, err := text.OpenTokenizer(write("tokenizer.json", `{
		"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": false},
		"pre_tokenizer": {"type": "BertPreTokenizer"},
		"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 5,
			"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "##a": 6, "A": 7}}}`))
	require.NoError(t, err)
	assert.Equal(t, []int32{6, 7, 8}, lines.Encode("Unaffable"))
	assert.Equal(t, []int32{7, 6, 5, 1, 4}, cased.Encode("Aa a aaaaaa [MASK]"))

	const minimal = `{"model": {"type": "WordPiece",
		"vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}}}`
	_, err = text.OpenTokenizer(write("minimal.json", minimal))
	require.NoError(t, err)
	for name, content := range map[string]string{
		"none.txt":   "the\nun",
		"twice.txt":  strings.Join(small, "\n") + "\nthe",
		"torn.json":  `{"model"`,
		"bpe.json":   `{"model": {"type": "BPE", "vocab": {}}}`,
		"empty.json": `{}`,
		"slow.json":  strings.Replace(minimal, `"vocab"`, `"max_input_chars_per_word": 1000000000, "vocab"`, 1),
		"bomb.json": strings.Replace(minimal, `{`, `{"normalizer": {"type": "Sequence", "normalizers": [
			{"type": "Lowercase"}, {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaa"}]}, `, 1),
		"numbers.json": strings.Replace(minimal, `"[PAD]": 0`, `"[PAD]": -1`, 1),
	} {
		path := write(name, content)
		_, err := text.OpenTokenizer(path)
		require.ErrorIs(t, err, text.ErrVocabulary, name)
		assert.ErrorContains(t, err, path)
	}
	_, err = text.OpenTokenizer(filepath.Join(folder, "missing"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
